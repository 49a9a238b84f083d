"""Half-precision kernels of shapes left out on every GPU, beside simple rivals that know the same kernels.

A fifth of the octaves of shape (cells of a grid with a step of two in every dimension) is kept out of every fit.
Tilecast forecasts a GPU by that GPU's own experts, trained on its other shapes; so are the rivals fitted, but for
`grid`, which looks up the nearest other shape on all other GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.base.arrays import Array
from tilecast.evaluate.baselines import Timed, Work, compared, nearest, rivals
from tilecast.hardware.device import Device
from tilecast.predict.physics.chip import FORMATS
from tilecast.predict.physics.half import seen_keys
from tilecast.predict.train.generations import LARGE_MS, Groups, Rows, fit
from tilecast.tables.declared.half_precision import SHAPE_BASELINES

FAMILIES = ("gemm", "prefill", "decode")
PARTS = 5  # one of so many octaves of shape is left out
TESTED = 4000  # kernels of a GPU and family that are forecast


def left_out_shapes(rows: Rows, seed: int) -> Array:
    """Which kernels have a shape that is left out: the same shapes on every GPU."""
    cells = np.stack([np.floor(np.log2(1 + values)) for values in rows.dims.values()], axis=1).astype(np.uint64)
    number = np.full(len(cells), seed, dtype=np.uint64)
    for column in cells.T:  # a multiplicative hash (Knuth, volume 3, 6.4), so that cells do not depend on the rest
        number = (number + column + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        number ^= number >> np.uint64(29)
    return np.asarray(number % np.uint64(PARTS) == 0)


def work_of(family: str, rows: Rows, device: Device, dtype: str = "bf16") -> Work:
    """Operations and bytes of kernels at the GPU's specified peaks."""
    v, size = rows.dims, FORMATS[dtype].weight_bytes
    if family == "gemm":
        flops = 2 * v["m"] * v["n"] * v["k"]
        moved = size * (v["m"] * v["k"] + v["k"] * v["n"] + v["m"] * v["n"])
    else:
        context = v["context"] if family == "decode" else v["tokens"]
        tokens = np.ones_like(context) if family == "decode" else context
        flops = 4 * v["batch"] * v["heads"] * seen_keys(tokens, context, v["window"]) * v["head_dim"]
        keys = np.where((family == "decode") & (v["window"] > 0), np.minimum(v["window"], context), context)
        heads = v["kv_heads"] * keys + v["heads"] * tokens
        moved = 2 * size * v["batch"] * v["head_dim"] * heads
    peak = device.peak_flops_per_s(dtype, matrix=True)
    shape = np.stack([np.log2(1 + values) for values in v.values()], axis=1)
    return Work(shape, 1e3 * flops / peak, 1e3 * moved / device.bandwidth_bytes_per_s)


def shapes_left_out(
    groups: Groups, devices: Mapping[str, Device], seed: int, progress: Callable[[str], None] = print
) -> pd.DataFrame:
    """The `shape_baselines` table: bf16 products and attention of shapes left out, by generation."""
    table = []
    for family in FAMILIES:
        found = groups.get(f"{family}/bf16", {})
        parts: dict[str, list[dict[str, Array]]] = {}
        timed: dict[str, Timed] = {}
        held = {name: left_out_shapes(rows, seed) for name, rows in found.items()}
        for name, rows in found.items():
            kept = rows.good & ~held[name]
            timed[name] = (work_of(family, rows, devices[name]).where(kept), rows.measured_ms[kept])
        for name, rows in found.items():
            some = np.flatnonzero(rows.good & held[name])
            some = np.random.default_rng(seed).permutation(some)[:TESTED]
            known = rows.physics(family, "bf16", devices[name])
            expert = fit(replace(rows, good=rows.good & ~held[name]), known, seed)
            ours = known.base_ms[some] * np.exp(expert.correction(known.features[some]))
            work = work_of(family, rows, devices[name]).where(some)
            views = {"measured": rows.measured_ms[some], "tilecast": np.maximum(ours, known.floor_ms[some])}
            views |= {rival: forecast(work) for rival, forecast in rivals({name: timed[name]}, name).items()}
            views["grid"] = nearest([one for other, one in timed.items() if other != name])(work)
            parts.setdefault(GENERATIONS[name], []).append(views | {"roofline": work.roofline_ms})
            progress(f"{family} on {name}: {len(some)} kernels of shapes left out")
        for generation, every in parts.items():
            joined = {key: np.concatenate([part[key] for part in every]) for key in every[0]}
            measured = joined.pop("measured")
            for calls, chosen in (("long", measured >= LARGE_MS), ("all", np.full(len(measured), True))):
                if chosen.any():
                    about = {"family": family, "generation": generation, "calls": calls}
                    forecasts = {key: forecast[chosen] for key, forecast in joined.items()}
                    table.append(compared(about, measured[chosen], forecasts, "tilecast"))
    return pd.concat(table, ignore_index=True)[list(SHAPE_BASELINES.columns)]
