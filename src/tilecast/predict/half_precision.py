"""`tilecast` in half precision and below: experts of nine GPUs, Ampere to Blackwell, by family and number format.

As for single precision, every training GPU has an expert a family that corrects the physical base time. A GPU an
expert was trained on is forecast by it; any other by the experts of all generations, averaged geometrically, those
nearest in the size of their matrix units weighing most; products and Triton's experts by rates fitted on all
generations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import Device
from tilecast.predict import interval
from tilecast.predict.columns import Columns, replaced, some
from tilecast.predict.experts import Expert, Fold, load_trained, same_rates, unit_weights
from tilecast.predict.kernel import BOUNDS, HALF_PASSPORT
from tilecast.predict.physics import expert_kernel, latent
from tilecast.predict.physics.chip import FORMATS, Chip, chip
from tilecast.predict.physics.half import physics, triton

# What each family's kernels are described by.
DIMENSIONS = {
    "gemm": ("m", "n", "k"),
    "prefill": ("batch", "tokens", "heads", "kv_heads", "head_dim", "window"),
    "decode": ("batch", "context", "heads", "kv_heads", "head_dim", "window"),
    "moe": ("tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "skew"),
    "latent_prefill": ("batch", "tokens", "heads", "width", "value"),
    "latent_decode": ("batch", "context", "heads", "width", "value"),
    expert_kernel.FAMILY: ("tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "skew"),
}


class HalfPrecision:
    """The trained predictor: `experts[device][family/format]`, and the record of its training."""

    def __init__(
        self,
        experts: Mapping[str, Mapping[str, Expert]],
        meta: Mapping[str, Any],
        folds: Mapping[str, Mapping[str, Fold]],
    ) -> None:
        self.experts, self.meta = experts, meta
        self.folds = folds  # of products on a GPU not measured: by the generation left out, "" for none
        self.units = {name: float(unit) for name, unit in meta["units"].items()}
        # Of Triton's experts: fitted rates by the generation left out, "" for none.
        self.rates = {
            group: {out: expert_kernel.KernelRates.of(vector) for out, vector in found.items()}
            for group, found in meta.get("rates", {}).items()
        }

    @classmethod
    def load(cls, folder: Path = WEIGHTS / "half_precision") -> HalfPrecision:
        """Read `experts.safetensors` and `record.json` of a folder of trained weights."""

        def build(meta: Any, stored: dict[str, Array]) -> HalfPrecision:
            experts = {
                device: {group: Expert.of(stored, f"{device}/{group}") for group in groups}
                for device, groups in meta["trained"].items()
            }
            folds = {
                group: {out: Fold.of(kept, stored, f"{group}/{out}") for out, kept in found.items()}
                for group, found in meta.get("folds", {}).items()
            }
            return cls(experts, meta, folds)

        hint = "train it: snakemake half_precision_protocol"
        return load_trained(folder, "half-precision tilecast", hint, build)

    def arrays(self) -> dict[str, Array]:
        """All experts as named arrays, to be stored."""
        found: dict[str, Array] = {}
        for device, groups in self.experts.items():
            for group, expert in groups.items():
                found |= expert.arrays(f"{device}/{group}")
        for group, folds in self.folds.items():
            for out, fold in folds.items():
                for name, expert in fold.experts.items():
                    found |= expert.arrays(f"{group}/{out}/{name}")
        return found

    def knows(self, family: str, dtype: str) -> bool:
        """Whether any GPU was measured with that family in that number format."""
        group = f"{family}/{dtype}"
        if family in latent.RATES:
            return dtype in ("bf16", "fp8") and (family == "latent_decode" or dtype == "bf16")
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
        return same_rates((known[0], half), (known[1], device.bandwidth_bytes_per_s))

    def _left(self, group: str, stored: Collection[str], without: Collection[str]) -> str:
        """The key of what was trained without the generations `without`: the one left out, "" for none."""
        left = set(without) & {self.meta["generations"][name] for name in self.meta["rows"][group]}
        if len(left) > 1 or not left <= set(stored):
            raise InputError(group, "no GPU that counts was measured in it", "leave one out at most")
        return left.pop() if left else ""

    def weights(self, device: Device, on: Chip, group: str, without: Collection[str] = ()) -> dict[str, float]:
        """Weights of the training GPUs' experts in a forecast; a GPU that was measured counts alone."""
        if self.seen(device, group, without):
            return {device.name: 1.0}
        generations = self.meta["generations"]
        donors = {
            name: self.units[name]
            for name, groups in self.experts.items()
            if group in groups and generations[name] not in without
        }
        return unit_weights(on.unit, donors, generations, self.meta["decay"][group]) if donors else {}

    def forecast(
        self, family: str, dtype: str, dims: Mapping[str, Array], device: Device, without: Collection[str] = ()
    ) -> dict[str, Array]:
        """latency_ms, low_ms, high_ms, bound and passport of kernels of one family and format, as if the GPU
        generations `without` had never been measured."""
        if family not in DIMENSIONS or dtype not in FORMATS:
            raise InputError(f"{family} in {dtype}", "is not measured", f"families {', '.join(DIMENSIONS)}")
        if family in latent.RATES:
            return _latent(family, dtype, dims, device)
        group = f"{family}/{dtype}"
        if group not in self.meta["rows"]:
            expected = f"expected one of {', '.join(sorted(self.meta['rows']))}"
            raise InputError(group, "no GPU was measured in it", expected)
        on, doubt, trained = chip(device, dtype), np.ones(1), np.ones(1)
        values = {name: np.asarray(dims[name], dtype=float) for name in DIMENSIONS[family]}
        if family == expert_kernel.FAMILY:
            known, work = triton(values, dtype, on)
            out = self._left(group, self.rates[group], without)
            latency = expert_kernel.time_ms(work, on, self.rates[group][out])
        elif group in self.folds and not self.seen(device, group, without):
            fold = self.folds[group][self._left(group, self.folds[group], without)]
            known, latency, doubt = fold.forecast(values, dtype, device)
        else:
            known = physics(family, values, dtype, on)
            weights = self.weights(device, on, group, without)
            if not weights:
                raise InputError(group, "no GPU that counts was measured in it", "leave fewer generations out")
            correction, trained = np.zeros(len(known.base_ms)), np.ones(len(known.base_ms))
            for name, weight in weights.items():
                expert = self.experts[name][group]
                correction += weight * expert.correction(known.features)
                trained -= weight * expert.unknown(known.features)
            latency = known.base_ms * np.exp(correction)
        # loads of experts are estimated: no floor follows from them
        floor = np.zeros_like(known.floor_ms) if family.startswith("moe") else known.floor_ms
        latency = np.maximum(latency, floor)
        kind = "seen" if self.seen(device, group, without) else "unseen"
        width = np.full(len(latency), self.meta["half_width"][kind][group]) * doubt
        new = trained < 0.5
        low, high = interval.interval(latency, np.where(new, self._widest(dtype), width), floor)
        passport = np.where(new, "extrapolated", np.full(len(latency), HALF_PASSPORT))
        ends = {"latency_ms": latency, "low_ms": low, "high_ms": high}
        return ends | {"bound": BOUNDS[known.bound], "passport": passport}

    def many_products(self, dtype: str, dims: Mapping[str, Array], device: Device) -> dict[str, Array]:
        """A forecast of `b` products at once: none was measured, so they are as one with as much to compute.

        Its shorter side stays as it is: experts' products of few tokens read as many weights so. With the widest
        interval, and never faster than the hardware moves and computes all of them.
        """
        b, m, n, k = (dims[name] for name in "bmnk")
        tall = m > n
        alike = {"m": np.where(tall, b, 1) * m, "n": np.where(tall, 1, b) * n, "k": k}
        found, width = self.forecast("gemm", dtype, alike, device), self._widest(dtype)
        moved, work = FORMATS[dtype].input_bytes * b * (m * k + n * k) + 2 * b * m * n, 2 * b * m * n * k
        peak = device.peak_flops_per_s(FORMATS[dtype].rate, matrix=True)
        floor = 1e3 * np.maximum(moved / device.bandwidth_bytes_per_s, work / peak)
        latency = np.maximum(found["latency_ms"], floor)
        low, high = interval.interval(latency, np.full(len(latency), width), floor)
        ends = {"latency_ms": latency, "low_ms": low, "high_ms": high, "bound": found["bound"]}
        return ends | {"passport": np.full(len(latency), "extrapolated", dtype=object)}

    def _widest(self, dtype: str) -> float:
        """Half-width of inputs nobody trained on: the widest in that format, of groups without fitted rates."""
        widths = {
            key: width for key, width in self.meta["half_width"]["unseen"].items() if key.endswith(f"/{dtype}")
        }
        plain = (width for group, width in widths.items() if group not in self.folds)
        return float(max(plain, default=max(widths.values())))

    def covers(self, device: Device, dtype: str) -> bool:
        """Whether a device is of the kind measured: NVIDIA, with matrix units in bf16 and in that format."""
        rates = device.matrix_flops_per_s
        return device.vendor == "NVIDIA" and min(rates.get("bf16", 0.0), rates.get(FORMATS[dtype].rate, 0.0)) > 0


def _latent(family: str, dtype: str, dims: Mapping[str, Array], device: Device) -> dict[str, Array]:
    """The forecast of latent attention: no expert corrects it, its rates are common to all GPUs."""
    on = chip(device, dtype)
    found = latent.physics(family, {name: np.asarray(dims[name], dtype=float) for name in dims}, dtype, on)
    foreign = family == "latent_decode" and on.unit < latent.UNIT_FROM
    width = latent.FOREIGN_HALF_WIDTH if foreign else latent.RATES[family].half_width
    latency = np.maximum(found.base_ms, found.floor_ms)
    low, high = interval.interval(latency, np.full(len(latency), width), found.floor_ms)
    ends = {"latency_ms": latency, "low_ms": low, "high_ms": high, "bound": BOUNDS[found.bound]}
    return ends | {"passport": np.full(len(latency), "extrapolated" if foreign else HALF_PASSPORT, dtype=object)}


@lru_cache(maxsize=1)
def shipped() -> HalfPrecision:
    """The experts that come with the project."""
    return HalfPrecision.load()


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


def half_precision(
    kernels: Columns, forecast: Columns, device: Device, model: HalfPrecision | None = None
) -> Columns:
    """`forecast` with what the shipped experts, or `model`, say of those of the `kernels` that they cover.

    Products and fused attention; of attention, decoding and prefill without earlier context. Of an attention
    kernel is known how many heads there are, not how many sequences share them.
    """
    model = model or shipped()
    for stored, dtype in _MEASURED_AS.items():
        places = np.flatnonzero(kernels["dtype"] == stored)
        if not len(places) or not model.covers(device, dtype):
            continue
        mine = some(kernels, places)
        v = {name: mine[name].astype(float) for name in "bmnk"}
        attention, one = mine["family"] == "attention", v["m"] == 1
        read = mine["bytes_read"].astype(float) / (1 if stored == "fp8" else 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            groups = np.clip(np.round((read - v["b"] * v["m"] * v["k"]) / (2 * v["n"] * v["k"])), 1, v["b"])
            # of latents: a cache is read once a sequence
            caches = np.clip(np.round((read - v["b"] * v["m"] * v["k"]) / (v["n"] * v["k"])), 1, v["b"])
            values = mine["bytes_written"].astype(float) / (2 * v["b"] * v["m"])
        heads = {
            "batch": np.ones(len(places)), "heads": v["b"], "kv_heads": groups, "head_dim": v["k"],
            "window": np.zeros(len(places)), "tokens": v["m"], "context": v["n"],
        }  # fmt: skip
        latents = mine["op"] == "latent"
        narrow = heads | {"batch": caches, "heads": v["b"] / caches, "width": v["k"], "value": values}
        # a prompt's keys are wider than its values, by less than twice, where they were latents: nowhere else
        narrower = (values < v["k"]) & (2 * values >= v["k"])
        written = attention & ~one & (v["m"] == v["n"]) & narrower
        chosen: tuple[tuple[str, Array, dict[str, Array]], ...] = (
            ("gemm", mine["family"] == "linear", v | {"m": v["b"] * v["m"]}),
            ("latent_decode", latents, narrow),
            ("latent_prefill", written, narrow | {"batch": np.ones(len(places)), "heads": v["b"]}),
            ("decode", attention & one & ~latents, heads),
            ("prefill", attention & ~one & ~written & (v["m"] == v["n"]), heads),
        )
        for family, rows, dims in chosen:
            if rows.any() and model.knows(family, dtype):
                sizes = {name: dims[name][rows] for name in DIMENSIONS[family]}
                found = model.forecast(family, dtype, sizes, device)
                if family.endswith("prefill"):
                    times = np.where(mine["phase"][rows] == "backward", _backward_times(sizes["tokens"]), 1.0)
                    found |= {end: found[end] * times for end in ("latency_ms", "low_ms", "high_ms")}
                forecast = replaced(forecast, places[rows], found)
        if (rows := mine["family"] == "bmm").any() and model.knows("gemm", dtype):
            found = model.many_products(dtype, some(v, rows), device)
            forecast = replaced(forecast, places[rows], found)
    return forecast
