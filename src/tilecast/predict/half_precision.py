"""`tilecast` in half precision and below: experts of nine GPUs, Ampere to Blackwell, by family and number format.

As for single precision, every training GPU has an expert a family: a network of two hidden layers that corrects
the physical base time. A GPU an expert was trained on is forecast by it; any other by the experts of all
generations, averaged geometrically, those nearest in the size of their matrix units weighing most; products and
Triton's experts by rates fitted on all generations.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import Device
from tilecast.predict import interval
from tilecast.predict.physics import expert_kernel
from tilecast.predict.physics.half import FORMATS, Array, Chip, PowerLaw, cast, chip, triton
from tilecast.predict.physics.products import Fold
from tilecast.predict.tilecast import Expert

if TYPE_CHECKING:
    import pandas as pd

PASSPORT = "modern track"
# What each family's kernels are described by.
DIMENSIONS = {
    "gemm": ("m", "n", "k"),
    "prefill": ("batch", "tokens", "heads", "kv_heads", "head_dim", "window"),
    "decode": ("batch", "context", "heads", "kv_heads", "head_dim", "window"),
    "moe": ("tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "skew"),
    expert_kernel.FAMILY: ("tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "skew"),
}
BOUNDS = np.array(["compute", "bandwidth", "latency"], dtype=object)


@dataclass(frozen=True)
class Bounded:
    """An expert that is asked within the range of features it was trained on: beyond, it knows nothing more."""

    expert: Expert
    low: Array
    high: Array

    def correction(self, features: Array) -> Array:
        """The log of the correction, one a row of single-precision features."""
        return self.expert.correction(np.clip(features, self.low, self.high))

    def arrays(self) -> dict[str, Array]:
        """Named arrays, to be stored: weights in half precision."""
        ranges = {"low": self.low, "high": self.high, "mean": self.expert.mean, "scale": self.expert.scale}
        stored = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in ranges.items()}
        layers = {str(i): np.ascontiguousarray(layer, np.float16) for i, layer in enumerate(self.expert.layers)}
        return stored | layers

    @classmethod
    def of(cls, stored: Mapping[str, Array], key: str) -> Bounded:
        """What `arrays` stored below `key`."""
        layers = tuple(stored[f"{key}/{place}"].astype(np.float32) for place in range(6))
        expert = Expert(stored[f"{key}/mean"].astype(float), stored[f"{key}/scale"].astype(float), layers)
        return cls(expert, stored[f"{key}/low"], stored[f"{key}/high"])


def donor_weights(
    unit: float, donors: Mapping[str, float], generations: Mapping[str, str], decay: float
) -> dict[str, float]:
    """Weights of the donors' experts for a GPU whose matrix units have log2 size `unit`; sum one.

    A generation's weight falls to 1/e over `decay` doublings of that size; its GPUs share it alike.
    """
    groups: dict[str, list[str]] = {}
    for name in donors:
        groups.setdefault(generations[name], []).append(name)
    raw = {
        generation: float(np.exp(-np.mean([abs(unit - donors[name]) for name in names]) / decay))
        for generation, names in groups.items()
    }
    total = sum(raw.values())
    return {name: raw[generation] / total / len(names) for generation, names in groups.items() for name in names}


def _fold(kept: Mapping[str, Any], stored: Mapping[str, Array], key: str) -> Fold:
    return Fold.of(kept, {name: Bounded.of(stored, f"{key}/{name}") for name in kept["units"]})


class Modern:
    """The trained predictor: `experts[device][family/format]`, and the record of its training."""

    def __init__(
        self,
        experts: Mapping[str, Mapping[str, Bounded]],
        meta: Mapping[str, Any],
        folds: Mapping[str, Mapping[str, tuple[Fold, float]]],
    ) -> None:
        self.experts, self.meta = experts, meta
        # Of products on a GPU not measured: what is known, and the decay of its weights, by the generation left
        # out, "" for none.
        self.folds = folds
        self.laws = {group: PowerLaw(**law) for group, law in meta["law"].items()}
        self.units = {name: float(unit) for name, unit in meta["units"].items()}
        # Of Triton's experts: fitted rates by the generation left out, "" for none.
        self.rates = {
            group: {out: expert_kernel.Rates.of(vector) for out, vector in found.items()}
            for group, found in meta.get("rates", {}).items()
        }

    @classmethod
    def load(cls, folder: Path = WEIGHTS / "half_precision") -> Modern:
        """Read `experts.safetensors` and `record.json` of a folder of trained weights."""
        from safetensors.numpy import load_file

        try:
            meta = json.loads((folder / "record.json").read_text(encoding="utf-8"))
            stored = load_file(folder / "experts.safetensors")
            experts = {
                device: {group: Bounded.of(stored, f"{device}/{group}") for group in groups}
                for device, groups in meta["trained"].items()
            }
            folds = {
                group: {
                    out: (_fold(kept, stored, f"{group}/{out}"), float(kept["decay"]))
                    for out, kept in found.items()
                }
                for group, found in meta.get("folds", {}).items()
            }
            return cls(experts, meta, folds)
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"holds no trained half-precision tilecast ({error})"
            raise InputError(folder, problem, "train it: snakemake modern_protocol") from None

    def arrays(self) -> dict[str, Array]:
        """All experts as named arrays, to be stored."""
        every = {
            f"{device}/{group}": expert
            for device, groups in self.experts.items()
            for group, expert in groups.items()
        }
        for group, found in self.folds.items():
            for out, (fold, _) in found.items():
                every |= {f"{group}/{out}/{name}": expert for name, expert in fold.experts.items()}
        return {f"{key}/{name}": array for key, one in every.items() for name, array in one.arrays().items()}

    def knows(self, family: str, dtype: str) -> bool:
        """Whether any GPU was measured with that family in that number format."""
        group = f"{family}/{dtype}"
        return group in self.rates or any(group in groups for groups in self.experts.values())

    def seen(self, device: Device, group: str, without: Collection[str]) -> bool:
        """Whether this very GPU was measured: the name, and the rates that go with it."""
        known = self.meta["devices"].get(device.name)
        if (
            known is None
            or self.meta["generations"][device.name] in without
            or device.name not in self.meta["rows"][group]
        ):
            return False
        half = device.peak_flops_per_s("bf16", matrix=True)
        pairs = ((known[0], half), (known[1], device.bandwidth_bytes_per_s))
        return all(abs(a / b - 1) < 0.05 for a, b in pairs)

    def _left(self, group: str, stored: Collection[str], without: Collection[str]) -> str:
        """The generation left out that something is stored for, "" for none."""
        left = set(without) & {self.meta["generations"][name] for name in self.meta["rows"][group]}
        if len(left) > 1 or not left <= set(stored):
            raise InputError(group, "no GPU that counts was measured in it", "leave one out at most")
        return left.pop() if left else ""

    def weights(self, device: Device, on: Chip, group: str, without: Collection[str] = ()) -> dict[str, float]:
        """Whose experts speak, and how much; the GPU itself alone where it was measured."""
        if self.seen(device, group, without):
            return {device.name: 1.0}
        generations = self.meta["generations"]
        donors = {
            name: self.units[name]
            for name, groups in self.experts.items()
            if group in groups and generations[name] not in without
        }
        return donor_weights(on.unit, donors, generations, self.meta["decay"][group]) if donors else {}

    def forecast(
        self, family: str, dtype: str, dims: Mapping[str, Array], device: Device, without: Collection[str] = ()
    ) -> dict[str, Array]:
        """latency_ms, low_ms, high_ms and bound of kernels of one family and format, as if the GPU
        generations `without` had never been measured."""
        if family not in DIMENSIONS or dtype not in FORMATS:
            raise InputError(f"{family} in {dtype}", "is not measured", f"families {', '.join(DIMENSIONS)}")
        group = f"{family}/{dtype}"
        if group not in self.laws:
            raise InputError(group, "no GPU was measured in it", f"expected one of {', '.join(sorted(self.laws))}")
        on, doubt = chip(device, dtype, self.laws[group]), np.ones(1)
        values = {name: np.asarray(dims[name], dtype=float) for name in DIMENSIONS[family]}
        if family == expert_kernel.FAMILY:
            known, work = triton(values, dtype, on)
            out = self._left(group, self.rates[group], without)
            latency = expert_kernel.time_ms(work, on, self.rates[group][out])
        elif group in self.folds and not self.seen(device, group, without):
            fold, decay = self.folds[group][self._left(group, self.folds[group], without)]
            known, latency, doubt = fold.forecast(values, dtype, device, decay)
        else:
            known = cast(family, values, dtype, on)
            weights = self.weights(device, on, group, without)
            if not weights:
                raise InputError(group, "no GPU that counts was measured in it", "leave fewer generations out")
            correction = np.zeros(len(known.base_ms))
            for name, weight in weights.items():
                correction += weight * self.experts[name][group].correction(known.features)
            latency = known.base_ms * np.exp(correction)
        floor = (
            np.zeros_like(known.floor_ms) if family.startswith("moe") else known.floor_ms
        )  # loads are estimated
        latency = np.maximum(latency, floor)
        kind = "seen" if self.seen(device, group, without) else "unseen"
        width = np.full(len(latency), self.meta["half_width"][kind][group]) * doubt
        low, high = interval.interval(latency, width, floor)
        return {"latency_ms": latency, "low_ms": low, "high_ms": high, "bound": BOUNDS[known.bound]}

    def covers(self, device: Device, dtype: str) -> bool:
        """Whether a device is of the kind measured: NVIDIA, with matrix units in bf16 and in that format."""
        rates = device.matrix_flops_per_s
        return device.vendor == "NVIDIA" and min(rates.get("bf16", 0.0), rates.get(FORMATS[dtype].rate, 0.0)) > 0


@lru_cache(maxsize=1)
def shipped() -> Modern | None:
    """The experts that come with the project, where they do."""
    return Modern.load() if (WEIGHTS / "half_precision/record.json").exists() else None


# Stored format -> measured one: fp16 runs on the units of bf16, at their rate.
_MEASURED_AS = {"bf16": "bf16", "fp16": "bf16", "fp8": "fp8"}

# Nobody timed fused attention's backward pass in the track's tables. It computes five products where the forward
# pass has two, at a rate that is this share of the forward's, by tokens: FlashAttention-3 on H100, head dimension
# 128 (arXiv 2407.08608, figures of forward and backward speed); FlashAttention-2's and cuDNN's shares are alike.
BACKWARD_PRODUCTS = 5 / 2
BACKWARD_RATE = {512: 316 / 467, 1024: 424 / 565, 2048: 501 / 625, 4096: 542 / 638, 8192: 559 / 646}


def _backward_times(tokens: Array) -> Array:
    """How much longer than its forward pass fused attention's backward pass takes."""
    rate = np.interp(np.log2(tokens), np.log2(list(BACKWARD_RATE)), list(BACKWARD_RATE.values()))
    return np.asarray(BACKWARD_PRODUCTS / rate)


def half_precision(kernels: pd.DataFrame, device: Device, model: Modern) -> pd.DataFrame:
    """Forecasts, with the passport `modern track`, of the kernels in `kernels` that `model` covers.

    Products (`linear`) and fused attention; of attention, decoding and prefill without earlier context. Of an
    attention kernel is known how many heads there are, not how many sequences share them. Indexed as `kernels`.
    """
    import pandas as pd

    parts = []
    for stored, dtype in _MEASURED_AS.items():
        mine = kernels[kernels["dtype"] == stored]
        if mine.empty or not model.covers(device, dtype):
            continue
        v = {name: mine[name].to_numpy(dtype=float) for name in "bmnk"}
        attention, one = (mine["family"] == "attention").to_numpy(), v["m"] == 1
        read = mine["bytes_read"].to_numpy(dtype=float) / (1 if stored == "fp8" else 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            groups = np.clip(np.round((read - v["b"] * v["m"] * v["k"]) / (2 * v["n"] * v["k"])), 1, v["b"])
        heads = {
            "batch": np.ones(len(mine)), "heads": v["b"], "kv_heads": groups, "head_dim": v["k"],
            "window": np.zeros(len(mine)), "tokens": v["m"], "context": v["n"],
        }  # fmt: skip
        chosen: tuple[tuple[str, Array, dict[str, Array]], ...] = (
            ("gemm", (mine["family"] == "linear").to_numpy(), v | {"m": v["b"] * v["m"]}),
            ("decode", attention & one, heads),
            ("prefill", attention & ~one & (v["m"] == v["n"]), heads),
        )
        for family, rows, dims in chosen:
            if rows.any() and model.knows(family, dtype):
                some = {name: dims[name][rows] for name in DIMENSIONS[family]}
                forecast = model.forecast(family, dtype, some, device)
                if family == "prefill":
                    back = (mine["phase"] == "backward").to_numpy()[rows]
                    times = np.where(back, _backward_times(some["tokens"]), 1.0)
                    forecast |= {end: forecast[end] * times for end in ("latency_ms", "low_ms", "high_ms")}
                parts.append(pd.DataFrame(forecast | {"passport": PASSPORT}, index=mine.index[rows]))
    return pd.concat(parts) if parts else pd.DataFrame()
