"""Measures how much of a copy hides behind a matrix product, beside the formula max(0, copy - compute).

    python -m tilecast.moe.overlap --device cuda --output results/moe/overlap.csv

On a GPU the copy is from pinned host memory, on a stream of its own. On the CPU device a second thread copies; it
shares memory bandwidth with the product, which a GPU's copy engine does not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from statistics import median

import pandas as pd

from tilecast.base.errors import InputError, TilecastError
from tilecast.tables.declared.moe import OVERLAP
from tilecast.tables.io import write

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)  # time of the copy over time of the product
MATRIX = {"cpu": 768, "cuda": 8192}  # rows and columns
REPEATS, WARM_UP = 15, 3
PROBE_BYTES = 1 << 26  # copied to find the rate


def measure(device: str) -> pd.DataFrame:
    """Median times of copy and product alone and together, and the exposed copy time, for each ratio."""
    import torch

    if device not in MATRIX:
        raise InputError("--device", f"{device!r} is not known", "give cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device", "this machine has no CUDA device", "give cpu")
    left = torch.rand(MATRIX[device], MATRIX[device], device=device)
    out = torch.empty_like(left)

    def compute() -> None:
        torch.mm(left, left, out=out)

    compute_ms = _median_ms([compute], device)
    per_byte = _median_ms([_copier(PROBE_BYTES, device)], device) / PROBE_BYTES
    rows = []
    for ratio in RATIOS:
        count = max(int(ratio * compute_ms / per_byte), 1 << 12)
        copy = _copier(count, device)
        compute_alone, copy_alone = _median_ms([compute], device), _median_ms([copy], device)
        both = _median_ms([compute, copy], device)
        rows.append(
            {
                "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU ({platform.machine()})",
                "torch": torch.__version__,
                "repeats": REPEATS,
                "load_average": os.getloadavg()[0],  # other processes take part of a CPU that is measured
                "copied_bytes": count,
                "compute_ms": compute_alone,
                "copy_ms": copy_alone,
                "both_ms": both,
                "exposed_ms": both - compute_alone,
                "formula_exposed_ms": max(0.0, copy_alone - compute_alone),
            }
        )
    return pd.DataFrame(rows).round(4)


def _copier(count: int, device: str) -> Callable[[], object]:
    """A function that copies `count` bytes: to the GPU on a stream of its own, or within the CPU's memory."""
    import torch

    if device == "cpu":
        source = torch.ones(count, dtype=torch.uint8)
        target = torch.zeros_like(source)
        return lambda: target.copy_(source)
    host = torch.empty(count, dtype=torch.uint8, pin_memory=True)
    there, stream = torch.empty(count, dtype=torch.uint8, device=device), torch.cuda.Stream()

    def copy() -> None:
        with torch.cuda.stream(stream):
            there.copy_(host, non_blocking=True)

    return copy


def _median_ms(works: Sequence[Callable[[], object]], device: str) -> float:
    """Median time until all `works`, started together, are done: streams on a GPU, threads on the CPU device."""
    import torch

    times = []
    for turn in range(WARM_UP + REPEATS):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        threads = [threading.Thread(target=work) for work in works[1:]] if device == "cpu" else []
        for thread in threads:
            thread.start()
        for work in works[:1] if threads else works:
            work()
        for thread in threads:
            thread.join()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn >= WARM_UP:
            times.append((time.perf_counter() - began) * 1e3)
    return median(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description="copy overlapped with a matrix product, measured")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    try:
        write(measure(args.device), args.output, OVERLAP)
    except TilecastError as error:
        print(f"tilecast: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
