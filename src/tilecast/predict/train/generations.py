"""Training in half precision, and the forecasts of generations left out by which everything is chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.statistics import absolute_error_percent
from tilecast.hardware.device import Device
from tilecast.predict import interval
from tilecast.predict.experts import LEVEL_DOUBT, Expert, Fold, unit_weights
from tilecast.predict.half_precision import DIMENSIONS, HalfPrecision
from tilecast.predict.physics import expert_kernel, products
from tilecast.predict.physics.chip import FLOPS_PER_JOULE, UNIT_EXPONENT, Chip, Estimate, chip
from tilecast.predict.physics.half import physics, triton
from tilecast.predict.train.experts import fit_expert, save

ROWS = 5000  # a GPU, family and format, drawn by the seed: more rows gain nothing that leaving out shows
TRAINED_SHARE = 0.85
LEAST_ROWS = 200
RATE_ROWS = 800  # a GPU, that Triton's rates are fitted on
LARGE_MS = 0.05  # calls that count apart
SHORT_MS = 0.005  # shorter calls count less in training: they are mostly launch
# How fast donors' weight falls with unlikeness: leaving out training generations chooses.
DECAYS = (0.4, 0.8, 1.5)
PLAIN_DECAY = 0.8  # where too few generations are left to choose
LEADING = "gemm/bf16"  # other formats' products start from its rates
PRODUCTS = "gemm/"
PRODUCT_ROWS = 2000  # a generation, that rates of products are fitted on
DRAWN_BACK = {True: 0.03, False: 0.1}  # how far rates of bf16 products, and of others', are held to their start


@dataclass
class Rows:
    """Measured kernels of one GPU in one family and format."""

    dims: dict[str, Array]
    measured_ms: Array
    good: Array  # neither a duplicate nor on a slow path
    noise_percent: Array
    known: Estimate | None = field(default=None, repr=False)

    def physics(self, family: str, dtype: str, device: Device) -> Estimate:
        """Physics of the kernels, before a correction, computed once."""
        if self.known is None:
            self.known = physics(family, self.dims, dtype, chip(device, dtype))
        return self.known


Groups = dict[str, dict[str, Rows]]  # family/format -> device -> its rows


def group_rows(table: pd.DataFrame, family: str) -> dict[str, Rows]:
    """The rows of one GPU's tidy table by family/format; formats with too few rows are left out."""
    noise = table["noise_percent"] if "noise_percent" in table else np.full(len(table), np.nan)
    return {
        f"{family}/{dtype}": Rows(
            {name: rows[name].to_numpy(dtype=float) for name in DIMENSIONS[family]},
            rows["latency_ms"].to_numpy(dtype=float),
            (rows["flag"] == "").to_numpy(),
            rows["noise_percent"].to_numpy(dtype=float),
        )
        for dtype, rows in table.assign(noise_percent=noise).groupby("dtype", sort=True)
        if len(rows) >= LEAST_ROWS
    }


def shown(rows: Rows, seed: int) -> Array:
    """The kernels an expert is trained on, by index: at most ROWS, and never all."""
    usable = np.flatnonzero(rows.good)
    count = min(ROWS, int(TRAINED_SHARE * len(usable)))
    return np.sort(np.random.default_rng(seed).choice(usable, count, replace=False))


def fit(rows: Rows, known: Estimate, seed: int) -> Expert:
    """One GPU's expert of one family and format."""
    usable = shown(rows, seed)
    features, measured = known.features[usable], rows.measured_ms[usable]
    weight = np.clip(measured / (measured + SHORT_MS), 0.1, 1)
    return fit_expert(features, np.log(measured / known.base_ms[usable]), weight, seed, bounded=True)


class LeaveOut:
    """Forecasts of each GPU's kernels from the other generations alone, and the choices they decide."""

    def __init__(
        self,
        groups: Groups,
        devices: Mapping[str, Device],
        generations: Mapping[str, str],
        seed: int = 0,
        progress: Callable[[str], None] = print,
    ) -> None:
        self.groups, self.devices, self.generations = groups, devices, generations
        self.seed, self.progress = seed, progress
        self.experts: dict[str, dict[str, Expert]] = {}
        self._corrections: dict[tuple[str, str, str], Array] = {}
        self._folds: dict[tuple[str, frozenset[str]], Fold] = {}
        self._products: dict[tuple[str, frozenset[str], str], tuple[Estimate, dict[str, Array]]] = {}
        self._rates: dict[tuple[str, frozenset[str]], expert_kernel.KernelRates] = {}
        self._work: dict[tuple[str, str], tuple[expert_kernel.Launch, Chip]] = {}

    def known(self, group: str, device: str) -> Estimate:
        """Physics of one GPU's kernels."""
        family, dtype = group.split("/")
        return self.groups[group][device].physics(family, dtype, self.devices[device])

    def trained(self, group: str) -> dict[str, Expert]:
        """The experts of a group, trained when first asked for."""
        if group not in self.experts:
            began = time.monotonic()
            self.experts[group] = {
                device: fit(rows, self.known(group, device), self.seed)
                for device, rows in self.groups[group].items()
            }
            self.progress(f"{group}: {len(self.groups[group])} experts, {time.monotonic() - began:.0f} s")
        return self.experts[group]

    def rates(self, group: str, without: Collection[str]) -> expert_kernel.KernelRates:
        """Rates of Triton's experts, fitted on the generations not left out, which count alike."""
        key = group, frozenset(without)
        if key not in self._rates:
            kernels = []
            for gpus in self._inside(group, without).values():
                for device in gpus:
                    dims, on, measured = self._drawn(group, device, RATE_ROWS, ordered=False)
                    work = triton(dims, group.split("/")[1], on)[1]
                    kernels.append((work, on, measured, len(gpus) ** -0.5))
            self._rates[key] = expert_kernel.fit(kernels)
        return self._rates[key]

    def by_rates(self, group: str, device: str, without: Collection[str]) -> Array:
        """Milliseconds of a GPU's experts by Triton, at the rates of the generations not left out."""
        if (group, device) not in self._work:
            dims, on = self.groups[group][device].dims, self._chip(group, device)
            self._work[group, device] = triton(dims, group.split("/")[1], on)[1], on
        return expert_kernel.time_ms(*self._work[group, device], self.rates(group, without))

    def fold(self, group: str, without: Collection[str]) -> Fold:
        """Rates and corrections of products from the generations not left out, which count alike."""
        inside = self._inside(group, without)
        key = group, frozenset(inside)
        if key not in self._folds:
            began, dtype = time.monotonic(), group.split("/")[1]
            leads = group == LEADING or not set(self.in_group(LEADING)) - set(without)
            start = products.START if leads else self.fold(LEADING, without).rates
            parts = []
            for gpus in inside.values():
                for device in gpus:
                    part = self._drawn(group, device, PRODUCT_ROWS // len(gpus))
                    parts.append((*part, balanced(part[2]) * (1 / len(inside) / len(gpus))))
            rates = products.fit_rates(parts, dtype, start, DRAWN_BACK[leads])
            experts = {name: self._generation(group, gpus, rates) for name, gpus in inside.items()}
            units = {name: float(np.mean([self.unit(device) for device in gpus])) for name, gpus in inside.items()}
            self._folds[key] = Fold(rates, experts, units)
            self.progress(f"{group}, from {', '.join(inside)}: {time.monotonic() - began:.0f} s")
        return self._folds[key]

    def _drawn(
        self, group: str, device: str, count: int, ordered: bool = True
    ) -> tuple[dict[str, Array], Chip, Array]:
        """Dimensions, chip and times of at most `count` kernels, drawn by the seed."""
        rows = self.groups[group][device]
        usable = np.flatnonzero(rows.good)
        some = np.random.default_rng(self.seed).choice(usable, min(count, len(usable)), replace=False)
        some = np.sort(some) if ordered else some
        dims = {name: values[some] for name, values in rows.dims.items()}
        return dims, self._chip(group, device), rows.measured_ms[some]

    def _generation(self, group: str, gpus: list[str], rates: Array) -> Expert:
        """Fit one generation's correction of products, each of its GPUs about its own level."""
        features, target, weight, dtype = [], [], [], group.split("/")[1]
        for device in gpus:
            dims, on, measured = self._drawn(group, device, ROWS // len(gpus))
            level = products.fit_level(dims, dtype, on, rates, measured, balanced(measured))
            known = products.physics(dims, dtype, on, rates, level)
            features.append(known.features)
            target.append(np.log(measured / known.base_ms))
            weight.append(balanced(measured))
        every, aim, share = (np.concatenate(parts) for parts in (features, target, weight))
        return fit_expert(every, aim, share, self.seed, bounded=True)

    def product(
        self, group: str, device: str, without: Collection[str]
    ) -> tuple[Fold, Estimate, dict[str, Array]]:
        """A fold, its physics of all of a GPU's products, and each generation's correction of them."""
        fold = self.fold(group, without)
        key = group, frozenset(fold.experts), device
        if key not in self._products:
            dims, dtype = self.groups[group][device].dims, group.split("/")[1]
            known = products.physics(dims, dtype, self._chip(group, device), fold.rates)
            views = {name: view.astype(np.float32) for name, view in fold.corrections(known.features).items()}
            self._products[key] = known._replace(features=np.zeros((0, 0))), views
        return fold, *self._products[key]

    def doubt(self, group: str, device: str, without: Collection[str]) -> Array:
        """What the width of an unmeasured GPU's interval is proportional to, kernel by kernel."""
        if not group.startswith(PRODUCTS):
            return np.ones(len(self.groups[group][device].measured_ms))
        fold, known, views = self.product(group, device, without)
        return fold.doubt(known, views)

    def _chip(self, group: str, device: str) -> Chip:
        return chip(self.devices[device], group.split("/")[1])

    def unit(self, device: str) -> float:
        """log2 size of a GPU's matrix units."""
        return chip(self.devices[device], "bf16").unit

    def forecast(self, group: str, device: str, without: Collection[str], decay: float) -> Array:
        """Milliseconds of all kernels of `device`, by the experts of the generations not left out."""
        if group.startswith(expert_kernel.FAMILY):
            return self.by_rates(group, device, without)
        if group.startswith(PRODUCTS):
            fold, known, views = self.product(group, device, without)
            return fold.latency_ms(known, views, self.unit(device), decay)
        experts = self.trained(group)
        donors = {name: self.unit(name) for name in experts if self.generations[name] not in without}
        known = self.known(group, device)
        correction = np.zeros(len(known.base_ms))
        for name, weight in unit_weights(self.unit(device), donors, self.generations, decay).items():
            key = (group, device, name)
            if key not in self._corrections:
                self._corrections[key] = experts[name].correction(known.features).astype(np.float32)
            correction += weight * self._corrections[key]
        return np.maximum(known.base_ms * np.exp(correction), 0 if group.startswith("moe") else known.floor_ms)

    def in_group(self, group: str) -> dict[str, list[str]]:
        """GPUs that a group was measured on, by generation."""
        found: dict[str, list[str]] = {}
        for device in self.groups[group]:
            found.setdefault(self.generations[device], []).append(device)
        return found

    def _inside(self, group: str, without: Collection[str]) -> dict[str, list[str]]:
        return {name: gpus for name, gpus in self.in_group(group).items() if name not in without}

    def score(self, group: str, outside: Collection[str], decay: float) -> float:
        """Mean error (of long calls and of all) of each generation left out in turn; `outside` never counts."""
        inside = self._inside(group, outside)
        errors = []
        for generation, gpus in inside.items():
            for device in gpus:
                forecast = self.forecast(group, device, {*outside, generation}, decay)
                errors.append(sum(mape(self.groups[group][device], forecast)) / 2 / len(gpus))
        return sum(errors) / len(inside)

    def choose(self, group: str, outside: Collection[str]) -> tuple[float, dict[str, float]]:
        """Decay of donors' weights as chosen within the generations not `outside`, and every decay's score."""
        if group.startswith(expert_kernel.FAMILY) or len(self._inside(group, outside)) < 2:
            # One generation's corrections cannot be told from what is its own: none is carried over.
            return 0.0 if group.startswith(PRODUCTS) else PLAIN_DECAY, {}
        decays = (0.0, *DECAYS) if group.startswith(PRODUCTS) else DECAYS
        scores = {d: self.score(group, outside, d) for d in decays}
        best = min(scores, key=lambda d: scores[d])
        return best, {f"{d:g}": round(value, 2) for d, value in scores.items()}

    def half_width(self, group: str, outside: Collection[str], decay: float) -> float:
        """Half-width of an unmeasured GPU's 80 % interval, in units of `doubt`, from each generation left out."""
        inside = self._inside(group, outside)
        if len(inside) < 2:
            # ASSUME: with one generation nothing shows how far forecasts carry: a factor of e
            return 1 / LEVEL_DOUBT if group.startswith(PRODUCTS) else 1.0
        random, errors = np.random.default_rng(self.seed), []
        for generation, gpus in inside.items():
            for device in gpus:
                rows, without = self.groups[group][device], {*outside, generation}
                some = random.choice(np.flatnonzero(rows.good), 4000 // len(gpus))
                forecast = self.forecast(group, device, without, decay)[some]
                error = np.log(rows.measured_ms[some] / forecast) / self.doubt(group, device, without)[some]
                errors.append(np.exp(error))
        every = np.concatenate(errors)
        return interval.half_width(every, np.ones(len(every)))

    def own_half_width(self, group: str) -> float:
        """Half-width of a measured GPU's 80 % interval: its expert on kernels it was not trained on."""
        measured, forecasts = [], []
        for device, rows in self.groups[group].items():
            rest = np.setdiff1d(np.flatnonzero(rows.good), shown(rows, self.seed))[:2000]
            measured.append(rows.measured_ms[rest])
            if group.startswith(expert_kernel.FAMILY):
                forecasts.append(self.by_rates(group, device, ())[rest])
            else:
                known, expert = self.known(group, device), self.trained(group)[device]
                forecasts.append(known.base_ms[rest] * np.exp(expert.correction(known.features[rest])))
        return interval.half_width(np.concatenate(measured), np.concatenate(forecasts))


def balanced(measured_ms: Array) -> Array:
    """Weights of a GPU's kernels, sum one: half of it on all alike, half on long calls."""
    long, count = measured_ms >= LARGE_MS, len(measured_ms)
    return 0.5 / count + 0.5 * long / max(int(long.sum()), 1) if long.any() else np.full(count, 1 / count)


def mape(rows: Rows, forecast: Array) -> tuple[float, float]:
    """Mean absolute percentage error of long calls and of all, flagged rows left out."""
    error = absolute_error_percent(forecast, rows.measured_ms)[rows.good]
    large = error[rows.measured_ms[rows.good] >= LARGE_MS]
    return float(large.mean()) if len(large) else float(error.mean()), float(error.mean())


def ship(left_out: LeaveOut, folder: Path) -> HalfPrecision:
    """Choose on all generations, keep those experts, and write weights and record."""
    decay, unseen, seen, scores, rates = {}, {}, {}, {}, {}
    folds: dict[str, dict[str, Fold]] = {}
    trained: dict[str, dict[str, Expert]] = {name: {} for name in left_out.devices}
    for group in left_out.groups:
        decay[group], scores[group] = left_out.choose(group, ())
        unseen[group] = round(left_out.half_width(group, (), decay[group]), 4)
        seen[group] = round(left_out.own_half_width(group), 4)
        if group.startswith(expert_kernel.FAMILY):
            left = ("", *left_out.in_group(group))
            rates[group] = {out: left_out.rates(group, (out,)).vector().tolist() for out in left}
            continue
        if group.startswith(PRODUCTS):
            found = left_out.in_group(group)
            folds[group] = {
                out: replace(left_out.fold(group, (out,)), decay=left_out.choose(group, (out,))[0])
                for out in ("", *found)
                if set(found) - {out}
            }
        for device, expert in left_out.trained(group).items():
            trained[device][group] = expert
    devices = left_out.devices
    meta = {
        "predictor": "tilecast, modern track",
        "law": {
            group: {"flops_per_joule": FLOPS_PER_JOULE, "exponent": UNIT_EXPONENT} for group in left_out.groups
        },
        "decay": decay,
        "rates": rates,
        "folds": {group: {out: fold.record() for out, fold in found.items()} for group, found in folds.items()},
        "half_width": {"seen": seen, "unseen": unseen},
        "scores": scores,
        "seed": left_out.seed,
        "rows": {
            group: {name: len(rows.measured_ms) for name, rows in found.items()}
            for group, found in left_out.groups.items()
        },
        "rows_trained_on_at_most": ROWS,
        "generations": dict(left_out.generations),
        "units": {name: round(left_out.unit(name), 4) for name in devices},
        "devices": {
            name: [device.peak_flops_per_s("bf16", matrix=True), device.bandwidth_bytes_per_s]
            for name, device in devices.items()
        },
        "trained": {name: sorted(groups) for name, groups in trained.items()},
    }
    model = HalfPrecision(trained, meta, folds)
    save(model.arrays(), meta, folder)
    return model
