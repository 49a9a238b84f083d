"""Fit the rates of latent attention (`tilecast.predict.physics.latent`); hold them against generations left out.

`python benchmarks/fit_latent.py WHEEL` reads TensorRT-LLM's tables of the locked wheel: attention alone in bf16, 8
heads a rank and more. Errors are logs; each GPU generation weighs the same.
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
from tilecast.predict.physics import latent
from tilecast.predict.physics.chip import chip

TABLES = {  # of each family: table, column of its length, widths of keys and values, generations fitted on
    "latent_decode": ("generation_mla_perf", "context", (576, 512), ("Hopper", "Blackwell")),
    "latent_prefill": ("context_mla_perf", "tokens", (192, 128), tuple(dict.fromkeys(GENERATIONS.values()))),
}


def rows(wheel: str, table: str, length: str, widths: tuple[int, int]) -> pd.DataFrame:
    """The measured kernels of all GPUs, the fastest of rows measured twice."""
    archive, found = Archive(wheel), []
    with zipfile.ZipFile(wheel) as stored:
        for (system, framework, version, name), member in sorted(archive.members.items()):
            if name != table or framework != "trtllm":
                continue
            raw = pd.read_parquet(io.BytesIO(stored.read(member)))
            raw = raw[(raw["kv_cache_dtype"] == "bfloat16") & (raw["num_heads"] >= 8) & (raw["latency"] > 0)]
            raw[length] = raw["step"] + 1 if length == "context" else raw["isl"]
            raw = raw.rename(columns={"batch_size": "batch", "num_heads": "heads", "latency": "latency_ms"})
            best = raw.groupby(["batch", length, "heads"], as_index=False)["latency_ms"].min()
            found.append(best.assign(device=SYSTEMS[system], version=version))
    table_of = pd.concat(found, ignore_index=True).assign(width=widths[0], value=widths[1])
    return table_of.assign(generation=table_of["device"].map(GENERATIONS))


def errors(family: str, some: pd.DataFrame, rates: Any) -> np.ndarray:
    """Log of forecast over measured."""
    latent.RATES[family] = latent.LatentRates(*np.exp(rates), latent.RATES[family].half_width)
    found = np.zeros(len(some))
    for name, places in some.groupby("device").indices.items():
        part = some.iloc[places]
        values = {column: part[column].to_numpy(dtype=float) for column in part if part[column].dtype.kind in "if"}
        base = latent.physics(family, values, "bf16", chip(load_device(str(name)), "bf16")).base_ms
        found[places] = np.log(base / values["latency_ms"])
    return found


def fitted(family: str, some: pd.DataFrame) -> np.ndarray:
    """Logs of the rates that some rows ask for."""
    weight = 1 / np.sqrt(some.groupby("generation")["latency_ms"].transform("size").to_numpy())
    start = np.log([6.0, 0.7, 0.8, 0.6])
    residual = lambda rates: weight * errors(family, some, rates)  # noqa: E731
    return np.asarray(least_squares(residual, start, loss="soft_l1", f_scale=0.1 * weight.mean()).x)


def main(wheel: str) -> None:
    """Print rates and errors."""
    for family, (table, length, widths, generations) in TABLES.items():
        every = rows(wheel, table, length, widths)
        known = every[every["generation"].isin(generations)].reset_index(drop=True)
        rates = fitted(family, known)
        print(family, len(every), "rows; launches, stream, compute, more:", np.exp(rates).round(3))
        for name, part in every.groupby("device"):
            error = errors(family, part.reset_index(drop=True), rates)
            off = np.expm1(error)
            print(f"  {name}: median {np.median(np.abs(off)):.3f}, bias {np.median(off):+.3f}")
        for out in generations:
            without = fitted(family, known[known["generation"] != out].reset_index(drop=True))
            error = errors(family, known[known["generation"] == out].reset_index(drop=True), without)
            print(f"  without {out}: half-width {np.quantile(np.abs(error), 0.8):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
