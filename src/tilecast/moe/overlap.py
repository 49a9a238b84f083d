"""Measures how much of a copy hides behind a matrix product, against the formula max(0, copy - compute).

    python -m tilecast.moe.overlap --device cuda --output results/moe/overlap.csv

On a GPU: a pinned host-to-device copy on a stream of its own. On the CPU device: a copy in a second thread, which
shares memory bandwidth with the product as a GPU's copy engine does not.
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
from tilecast.tables.io import write_free

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)  # copy against compute
MATRIX = {"cpu": 768, "cuda": 8192}
REPEATS = 15


def measure(device: str) -> pd.DataFrame:
    """A row a ratio of copy to compute: each alone, both at once, and what of the copy was exposed (medians)."""
    import torch

    if device not in MATRIX:
        raise InputError("--device", f"{device!r} is not known", "give cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device", "this machine has no CUDA device", "give cpu")
    size = MATRIX[device]
    left = torch.rand(size, size, device=device)
    out = torch.empty_like(left)

    def compute() -> None:
        torch.mm(left, left, out=out)

    wait = torch.cuda.synchronize if device == "cuda" else _nothing
    compute_ms = _median_ms([compute], wait)
    probe = 1 << 26
    per_byte = _median_ms([_copier(probe, device)], wait) / probe
    rows = []
    for ratio in RATIOS:
        count = max(int(ratio * compute_ms / per_byte), 1 << 12)
        copy = _copier(count, device)
        alone = [_median_ms([compute], wait), _median_ms([copy], wait)]
        both = _median_ms([compute, copy], wait, threads=device == "cpu")
        rows.append(
            {
                "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU ({platform.machine()})",
                "torch": torch.__version__,
                "repeats": REPEATS,
                "load_average": os.getloadavg()[
                    0
                ],  # others on this machine: on a CPU they take part of what is measured
                "copied_bytes": count,
                "compute_ms": alone[0],
                "copy_ms": alone[1],
                "both_ms": both,
                "exposed_ms": both - alone[0],
                "formula_exposed_ms": max(0.0, alone[1] - alone[0]),
            }
        )
    return pd.DataFrame(rows).round(4)


def _nothing() -> None:
    """Nothing runs behind the CPU's back."""


def _copier(count: int, device: str) -> Callable[[], None]:
    import torch

    if device == "cuda":
        host = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        there, stream = torch.empty(count, dtype=torch.uint8, device=device), torch.cuda.Stream()

        def copy() -> None:
            with torch.cuda.stream(stream):
                there.copy_(host, non_blocking=True)

        return copy
    source = torch.ones(count, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return lambda: _discard(target.copy_(source))


def _discard(_: object) -> None:
    """A value nobody needs."""


def _median_ms(works: Sequence[Callable[[], None]], wait: Callable[[], None], threads: bool = False) -> float:
    """Median time until all `works`, begun at once, are done."""
    times = []
    for turn in range(REPEATS + 3):
        wait()
        began = time.perf_counter()
        if threads:
            running = [threading.Thread(target=work) for work in works[1:]]
            for thread in running:
                thread.start()
            works[0]()
            for thread in running:
                thread.join()
        else:
            for work in works:
                work()
        wait()
        if turn >= 3:  # the first turns warm up
            times.append((time.perf_counter() - began) * 1e3)
    return median(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description="copy overlapped with a matrix product, measured")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    try:
        write_free(measure(args.device), args.output)
    except TilecastError as error:
        print(f"tilecast: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
