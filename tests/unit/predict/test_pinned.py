"""Forecasts of every predictor and family on the shipped weights, pinned: a change of code must not move them.

`python tests/unit/predict/test_pinned.py` compares to the last bit, with `--write` it records what it finds. Other
processors round the last bits of a sum differently, so the test allows for that.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.hardware.device_file import devices, load_device
from tilecast.predict.half_precision import DIMENSIONS, HalfPrecision
from tilecast.predict.kernel import complete
from tilecast.predict.registry import load_predictor

RECORD = Path(__file__).with_name("pinned.json")
PREDICTORS = ("tilecast", "neusight", "habitat", "li", "roofline")
DEVICES = ("V100", "H100", "L4", "MI300X")  # trained on; not trained on; short of power; of another maker
HALF = ("NVIDIA_A100-SXM4-80GB", "NVIDIA_B200", "NVIDIA_L40S", "NVIDIA_GeForce_RTX_4090")  # the last: not measured
WHOLE = {  # dimensions that are whole numbers: range of their log2
    "batch": (0, 7), "tokens": (0, 13), "context": (4, 14), "heads": (3, 6), "kv_heads": (0, 3),
    "head_dim": (6, 7), "m": (0, 14), "n": (5, 14), "k": (5, 14), "hidden": (10, 13), "inter": (9, 13),
    "topk": (0, 3), "experts": (4, 8), "tp": (0, 2), "ep": (0, 2),
}  # fmt: skip
SIZES = (  # family, op, b, m, n, k, dtype, phase
    ("linear", "linear", 1, 1000, 4096, 1024, "fp32", "forward"),
    ("linear", "linear", 1, 1, 8192, 8192, "fp32", "forward"),
    ("linear", "linear", 1, 64, 256, 96, "tf32", "backward"),
    ("linear", "linear", 1, 4096, 4096, 1024, "bf16", "forward"),
    ("linear", "linear", 1, 3000, 777, 1022, "fp16", "backward"),
    ("linear", "linear", 1, 512, 2048, 2048, "fp8", "forward"),
    ("bmm", "bmm", 96, 512, 512, 64, "fp32", "forward"),
    ("bmm", "bmm", 12, 1021, 64, 1021, "fp32", "backward"),
    ("bmm", "bmm", 12, 128, 64, 128, "bf16", "forward"),
    *(("elementwise", op, 8192, 1024, 0, 0, "fp32", "forward") for op in ("add", "mulu", "gelu", "unknown")),
    ("elementwise", "add", 7, 5, 0, 0, "fp16", "forward"),
    ("softmax", "softmax", 6144, 512, 0, 0, "fp32", "forward"),
    ("softmax", "softmax", 64, 4098, 0, 0, "fp32", "backward"),
    ("norm", "ln", 16384, 1280, 0, 0, "fp32", "forward"),
    ("norm", "ln", 16384, 1280, 0, 0, "bf16", "backward"),
    ("norm", "ln", 16384, 1281, 0, 0, "fp32", "forward"),
    ("memory", "copy", 1, 1 << 22, 0, 0, "fp32", "forward"),
    ("attention", "attention", 512, 1, 2048, 128, "bf16", "forward"),
    ("attention", "attention", 32, 2048, 2048, 128, "fp16", "forward"),
    ("attention", "attention", 32, 2048, 2048, 128, "bf16", "backward"),
    ("conv", "conv", 8, 128, 256, 576, "fp32", "forward"),
)


def kernels() -> pd.DataFrame:
    table = pd.DataFrame(SIZES, columns=["family", "op", "b", "m", "n", "k", "dtype", "phase"])
    table = complete(table)
    products = table["family"].isin(["attention", "conv"])
    flops = 4 * table["b"] * table["m"] * np.maximum(table["n"], 1) * np.maximum(table["k"], 1)
    read = 2 * table["b"] * (table["m"] * table["k"] + table["n"] * table["k"] / 2)
    return table.assign(
        flops=np.where(products, flops, table["flops"]),
        bytes_read=np.where(products, read, table["bytes_read"]),
    )


def dimensions(family: str, seed: int) -> dict[str, np.ndarray]:
    """Three kernels of a family in half precision, drawn at random."""
    draw = np.random.default_rng(seed)
    found = {name: np.rint(2.0 ** draw.uniform(*WHOLE[name], 3)) for name in DIMENSIONS[family] if name in WHOLE}
    found |= {name: 2.0 ** np.rint(np.log2(found[name])) for name in ("experts", "tp", "ep") if name in found}
    if "window" in DIMENSIONS[family]:
        found["window"] = np.array([0.0, 128.0, 4096.0])
    if "skew" in DIMENSIONS[family]:
        found["skew"] = np.array([0.0, 1.01, 1.2])
    return {name: found[name] for name in DIMENSIONS[family]}


def rows(table: pd.DataFrame) -> list[list[object]]:
    return [
        [value if isinstance(value, str) else None if np.isnan(value) else float(value) for value in row]
        for row in table.itertuples(index=False, name=None)
    ]


def forecasts() -> dict[str, list[list[object]]]:
    """Latency, interval and bound of every pinned kernel, by predictor and device, or group, device, left out."""
    found, table = {}, kernels()
    for name in PREDICTORS:
        predictor = load_predictor(name)
        for device in DEVICES:
            found[f"{name} {device}"] = rows(predictor.predict(table, load_device(device)))
    alone = load_predictor("tilecast").predict(table.assign(isolated=table.index % 2 == 0), load_device("T4"))
    found["tilecast T4 isolated"] = rows(alone)
    model, every = HalfPrecision.load(), devices()
    for group, measured in model.meta["rows"].items():
        family, dtype = group.split("/")
        generations = {model.meta["generations"][name] for name in measured}
        for place, name in enumerate(HALF):
            own = model.meta["generations"].get(name)
            for out in ("", own) if own and len(generations - {own}) and own in generations else ("",):
                dims = dimensions(family, place)
                result = model.forecast(family, dtype, dims, every[name], (out,) if out else ())
                found[f"{group} {name} without {out or 'none'}"] = rows(pd.DataFrame(result))
    return found


def test_no_forecast_moves() -> None:
    recorded, found = json.loads(RECORD.read_text()), forecasts()
    assert set(found) == set(recorded)
    for name, expected in recorded.items():
        # the baselines' networks compute in single precision
        rounding = 1e-4 if name.startswith(("neusight", "habitat")) else 1e-9
        for row, before in zip(found[name], expected, strict=True):
            assert row == [
                pytest.approx(value, rel=rounding) if isinstance(value, float) else value for value in before
            ], name


if __name__ == "__main__":
    made = forecasts()
    if sys.argv[1:] == ["--write"]:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in made.items())
        RECORD.write_text("{\n" + lines + "\n}\n")
    moved = [name for name, values in json.loads(RECORD.read_text()).items() if made.get(name) != values]
    print(f"{sum(map(len, made.values()))} forecasts, {len(moved)} groups moved: {moved[:5]}")
    sys.exit(bool(moved))
