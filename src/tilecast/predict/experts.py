"""Experts: one small network a training GPU and family, and their weights in the forecast of another GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.predict.physics import products
from tilecast.predict.physics.chip import Chip, Estimate, chip
from tilecast.predict.weights import read_arrays, read_record

Loaded = TypeVar("Loaded")
LEAST_WEIGHT = 0.02  # in single precision; donors of less are left out
# Distance of two GPUs for each generation, the step from Pascal, and each doubling; peaks this near are the same.
MATRIX_STEPS, VECTOR_STEPS, SAME_PEAK = (1.0, 1.0, 0.5), (0.4, 0.8, 0.0), 0.05
LEAST_DEVIATION = 1e-3  # of a feature over the training data: with less it says nothing, and does nothing
# Share of a product's correction that the longest calls keep; calls this long keep the middle between it and all.
LASTING, LASTING_MS = 0.25, 0.05
BLOCK = 1 << 10  # kernels corrected at a time
LEVEL_DOUBT = 0.1  # of a GPU's rates, beside what generations disagree about, in logs


@dataclass(frozen=True)
class Expert:
    """A network of two hidden layers over standardised features: log of measured time over base time.

    Features are held within the range it was trained on, where that is given. One that did not vary in training
    stays at the value it had: nothing was learned of any other, and its weights are chance.
    """

    mean: Array
    scale: Array
    layers: tuple[Array, ...]  # weight, bias, weight, bias, weight, bias
    low: Array | None = None
    high: Array | None = None

    @cached_property
    def first(self) -> tuple[Array, Array]:
        """The first layer over features as they are: standardisation folded into weight and bias."""
        weight = self.layers[0].astype(float) / self.scale[:, None]
        return weight.astype(np.float32), (self.layers[1] - self.mean @ weight).astype(np.float32)

    @cached_property
    def fixed(self) -> Array:
        """Places of the features that did not vary in training."""
        return np.flatnonzero(self.scale < 2 * LEAST_DEVIATION)

    @cached_property
    def bounds(self) -> tuple[Array, Array] | None:
        """Least and largest value of each feature that the network is asked with."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        if not len(self.fixed):
            return None
        low, high = np.full(len(self.mean), -np.inf), np.full(len(self.mean), np.inf)
        low[self.fixed] = high[self.fixed] = self.mean[self.fixed]
        return low, high

    def unknown(self, features: Array) -> Array:
        """Rows in which a feature that did not vary in training has another value."""
        away = np.abs(features[:, self.fixed] - self.mean[self.fixed]) > LEAST_DEVIATION
        return np.asarray(away.any(axis=1))

    def correction(self, features: Array) -> Array:
        """The log of the correction, one a row of features: in double precision, whatever it is computed with."""
        if self.bounds is not None:
            features = np.clip(features, *self.bounds)
        # Rounded singly, a product's last bits depend on how many rows there are.
        rows, (last, level) = features.astype(float, copy=False), self.doubles[-1]
        found = np.empty(len(rows))
        rooms = [np.empty((min(BLOCK, len(rows)), len(bias))) for _, bias in self.doubles[:-1]]
        for start in range(0, len(rows), BLOCK):
            x = rows[start : start + BLOCK]
            for (weight, bias), room in zip(self.doubles, rooms):
                x = np.matmul(x, weight, out=room[: len(x)])
                x += bias
                np.maximum(x, 0, out=x)
            found[start : start + BLOCK] = (x @ last)[:, 0]
        return found + level

    @cached_property
    def doubles(self) -> tuple[tuple[Array, Array], ...]:
        """Weight and bias of each layer, in double precision."""
        layers = (self.first, self.layers[2:4], self.layers[4:])
        return tuple((weight.astype(float), bias.astype(float)) for weight, bias in layers)

    def arrays(self, key: str) -> dict[str, Array]:
        """Arrays to be stored below `key`: layers in half precision, as they were rounded when trained."""
        named = {"mean": self.mean, "scale": self.scale, "low": self.low, "high": self.high}
        stored = {name: np.ascontiguousarray(a, np.float32) for name, a in named.items() if a is not None}
        stored |= {str(i): np.ascontiguousarray(layer, np.float16) for i, layer in enumerate(self.layers)}
        return {f"{key}/{name}": array for name, array in stored.items()}

    @classmethod
    def of(cls, stored: Mapping[str, Array], key: str) -> Expert:
        """What `arrays` stored below `key`."""
        layers = tuple(stored[f"{key}/{place}"].astype(np.float32) for place in range(6))
        mean, scale = (stored[f"{key}/{name}"].astype(float) for name in ("mean", "scale"))
        return cls(mean, scale, layers, stored.get(f"{key}/low"), stored.get(f"{key}/high"))


def load_trained(folder: Path, what: str, hint: str, make: Callable[[Any, dict[str, Array]], Loaded]) -> Loaded:
    """What `make(record, arrays)` builds of a folder's `record.json` and `experts.safetensors`, or one line."""
    record = read_record(folder, hint)
    stored = read_arrays(folder, record, "experts", hint)
    try:
        return make(record, stored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(folder, f"holds no trained {what} ({error})", hint) from None


def same_rates(*pairs: tuple[float, float]) -> bool:
    """Whether rates that a GPU was trained with are those it is described with, to 5 %."""
    return all(abs(known / stated - 1) < 0.05 for known, stated in pairs)


# ---------------------------------------------------------------- weights of training GPUs


def shared_out(raw: Mapping[str, float]) -> dict[str, float]:
    """Weights scaled to sum one."""
    total = sum(raw.values())
    return {name: float(weight / total) for name, weight in raw.items()}


def likeness(distance: float, decay: float) -> float:
    """Weight of a donor, not yet scaled: it falls to 1/e over a distance of `decay`."""
    return float(np.exp(-distance / decay))


def distance(one: Chip, other: Chip, matrix: bool) -> float:
    """Distance between two GPUs: generations, the rewriting of libraries after Pascal, and doublings.

    Doublings are of the lanes of a multiprocessor and of operations per byte. They matter for matrix products;
    vector kernels change less from one generation to the next.
    """
    generations = abs(one.generation - other.generation)
    rewritten = float((one.generation == 0) != (other.generation == 0))
    ratio = [gpu.sustained_flops_per_s / gpu.bandwidth_bytes_per_s for gpu in (one, other)]
    doublings = abs(np.log2(one.lanes / other.lanes)) + abs(np.log2(ratio[0] / ratio[1]))
    steps = MATRIX_STEPS if matrix else VECTOR_STEPS
    return float(steps[0] * generations + steps[1] * rewritten + steps[2] * doublings)


def same_chip(one: Chip, other: Chip) -> bool:
    """Whether two boards carry the same silicon at the same clock: they differ in memory or power alone."""
    alike = (one.sm_count, one.lanes, one.generation) == (other.sm_count, other.lanes, other.generation)
    return alike and abs(one.peak_flops_per_s / other.peak_flops_per_s - 1) < SAME_PEAK


def chip_weights(target: Chip, donors: Mapping[str, Chip], matrix: bool, decay: float) -> dict[str, float]:
    """Weights of training GPUs in a forecast of single precision; the same chip, where there is one, counts alone.

    For matrix products a GPU short of power is a less certain example.
    """
    twins = [name for name, donor in donors.items() if same_chip(target, donor)]
    if twins:
        return dict.fromkeys(twins, 1 / len(twins))
    raw = {
        name: likeness(distance(target, donor, matrix), decay if matrix else 1.0)
        * (min(1.0, donor.sustained_flops_per_s / donor.peak_flops_per_s) if matrix else 1.0)
        for name, donor in donors.items()
    }
    return shared_out({name: weight for name, weight in shared_out(raw).items() if weight >= LEAST_WEIGHT})


def unit_weights(
    unit: float, donors: Mapping[str, float], generations: Mapping[str, str], decay: float
) -> dict[str, float]:
    """Weights of training GPUs in a forecast of half precision, by log2 size of their matrix units.

    A generation's weight falls with its GPUs' mean distance in that size; its GPUs share it alike.
    """
    groups: dict[str, list[str]] = {}
    for name in donors:
        groups.setdefault(generations[name], []).append(name)
    raw = {
        generation: likeness(float(np.mean([abs(unit - donors[name]) for name in names])), decay)
        for generation, names in groups.items()
    }
    shares = shared_out(raw)
    return {name: shares[generation] / len(names) for generation, names in groups.items() for name in names}


# ---------------------------------------------------------------- products on a GPU nobody measured


def kept(base_ms: Array) -> Array:
    """Share of a correction learned on other generations that a call keeps: all where short, less where long."""
    return np.asarray(LASTING + (1 - LASTING) * LASTING_MS / (base_ms + LASTING_MS))


@dataclass(frozen=True)
class Fold:
    """Products forecast from some generations alone: fitted rates, and a learned correction of each generation."""

    rates: Array
    experts: Mapping[str, Expert]
    units: Mapping[str, float]
    decay: float = 0.0  # at zero no correction is carried over: rates alone

    def corrections(self, features: Array) -> dict[str, Array]:
        """Each generation's correction of the kernels, in logs."""
        return {name: expert.correction(features) for name, expert in self.experts.items()}

    def latency_ms(self, known: Estimate, corrections: Mapping[str, Array], unit: float, decay: float) -> Array:
        """The forecast, never under what operations take at peak."""
        mean = np.zeros(len(known.base_ms))
        weights = unit_weights(unit, self.units, {name: name for name in self.units}, decay) if decay else {}
        for name, weight in weights.items():
            mean += weight * corrections[name]
        return np.asarray(np.maximum(known.base_ms * np.exp(kept(known.base_ms) * mean), known.floor_ms))

    def doubt(self, known: Estimate, corrections: Mapping[str, Array]) -> Array:
        """What an interval's width is proportional to: a level, and how far generations disagree, in logs."""
        views = np.stack([corrections[name] for name in self.experts])
        return np.asarray(np.hypot(LEVEL_DOUBT, kept(known.base_ms) * views.std(axis=0)))

    def forecast(self, v: Mapping[str, Array], dtype: str, device: Device) -> tuple[Estimate, Array, Array]:
        """Physics, forecast and doubt of products on a GPU."""
        on = chip(device, dtype)
        known = products.physics(v, dtype, on, self.rates)
        views = self.corrections(known.features)
        return known, self.latency_ms(known, views, on.unit, self.decay), self.doubt(known, views)

    def record(self) -> dict[str, Any]:
        """Plain numbers, for a training record; the experts' arrays are kept beside it."""
        rates = {name: round(float(rate), 5) for name, rate in zip(products.RATES, self.rates, strict=True)}
        units = {name: round(unit, 4) for name, unit in self.units.items()}
        return {"rates": rates, "units": units, "decay": self.decay}

    @classmethod
    def of(cls, record: Mapping[str, Any], stored: Mapping[str, Array], key: str) -> Fold:
        """What `record` and the experts' arrays below `key` stored."""
        rates = np.array([float(record["rates"][name]) for name in products.RATES])
        experts = {name: Expert.of(stored, f"{key}/{name}") for name in record["units"]}
        return cls(rates, experts, dict(record["units"]), float(record["decay"]))
