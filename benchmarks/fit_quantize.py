"""Fit rates of quantising activations (`tilecast.predict.physics.quantize`); hold them against GPUs left out.

`python benchmarks/fit_quantize.py WHEEL` reads vLLM's tables of the locked wheel: the kernel with a given scale,
and what finding the scale adds. Errors are logs; each GPU generation weighs the same.
"""

from __future__ import annotations

import io
import sys
import zipfile
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from tilecast.artifact.aiconfigurator_tables import GENERATIONS, SYSTEMS, Archive
from tilecast.hardware.device_file import load_device
from tilecast.predict.physics import quantize

TABLES = ("computescale_perf", "scale_matrix_perf")


def rows(wheel: str) -> pd.DataFrame:
    """Both parts' times added, of every GPU that has them."""
    found: dict[str, list[pd.Series]] = {}
    with zipfile.ZipFile(wheel) as stored:
        for (system, framework, _, name), member in sorted(Archive(wheel).members.items()):
            if framework == "vllm" and name in TABLES:
                raw = pd.read_parquet(io.BytesIO(stored.read(member)))
                found.setdefault(SYSTEMS[system], []).append(raw.groupby(["m", "k"])["latency"].min())
    parts = [sum(pair).dropna().rename("ms").reset_index().assign(device=name) for name, pair in found.items()]
    every = pd.concat(parts, ignore_index=True).assign(generation=lambda t: t["device"].map(GENERATIONS))
    return every[every["ms"] > 0].reset_index(drop=True)


def errors(some: pd.DataFrame, rates: Any) -> np.ndarray:
    """Log of forecast over measured."""
    quantize.RATES, found = tuple(np.exp(rates)), np.zeros(len(some))
    for name, places in some.groupby("device").indices.items():
        m, k, measured = some.iloc[places][["m", "k", "ms"]].to_numpy(dtype=float).T
        found[places] = np.log(quantize.quantized(m, k, load_device(str(name)))["latency_ms"] / measured)
    return found


def fitted(some: pd.DataFrame) -> np.ndarray:
    """Logs of the rates that some rows ask for."""
    weight = 1 / np.sqrt(some.groupby("generation")["ms"].transform("size").to_numpy())
    residual = lambda rates: weight * errors(some, rates)  # noqa: E731
    start = np.log([1.0, 0.7, 20.0, 500.0])
    return np.asarray(least_squares(residual, start, loss="soft_l1", f_scale=0.1 * weight.mean()).x)


def main(wheel: str) -> None:
    """Print rates and errors."""
    every = rows(wheel)
    rates = fitted(every)
    print(len(every), "rows; launches, stream, bytes a clock, cycles a row:", np.exp(rates).round(3))
    for name, part in every.groupby("device"):
        off = np.expm1(errors(part.reset_index(drop=True), rates))
        print(f"  {name}: median {np.median(np.abs(off)):.3f}, bias {np.median(off):+.3f}")
    for out in dict.fromkeys(every["generation"]):
        without = fitted(every[every["generation"] != out].reset_index(drop=True))
        error = errors(every[every["generation"] == out].reset_index(drop=True), without)
        print(f"  without {out}: half-width {np.quantile(np.abs(error), 0.8):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
