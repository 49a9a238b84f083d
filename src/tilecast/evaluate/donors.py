"""Other ways to borrow from training GPUs, each judged by leaving one of them out, and the best of them.

How the experts of other GPUs are weighed, and what they are asked: the correction of a kernel on the GPU forecast;
on that GPU with the donor's operations per byte and cache a multiprocessor; or on the donor's own board. Asked by
the last two, a correction does not change with bandwidth, clock or cache, so a better board is never slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.constants import Held, holding
from tilecast.evaluate.rivals import Measured
from tilecast.predict.experts import MATRIX_STEPS, chip_weights, distance, likeness, shared_out
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES
from tilecast.predict.physics.chip import Chip
from tilecast.predict.tilecast import DECAY, Tilecast
from tilecast.tables.declared.evaluation import DONORS
from tilecast.tables.io import check

Weigh = Callable[[Chip, Mapping[str, Chip], bool, float], dict[str, float]]


def _discrete(target: Chip, donors: Mapping[str, Chip], matrix: bool, decay: float) -> dict[str, float]:
    """By generation and lanes alone, which no change of a board's figures moves; short of power counts less."""
    raw = {}
    for name, donor in donors.items():
        same = replace(donor, generation=target.generation, lanes=target.lanes)  # but for what is not counted
        away = distance(target, donor, matrix) - (distance(target, same, matrix) if matrix else 0.0)
        power = min(1.0, donor.sustained_flops_per_s / donor.peak_flops_per_s) if matrix else 1.0
        raw[name] = likeness(away, decay if matrix else 1.0) * power
    return shared_out(raw)


def _nearest(target: Chip, donors: Mapping[str, Chip], matrix: bool, decay: float) -> dict[str, float]:
    """The GPU, or GPUs, nearest in generation and lanes alone."""
    away = {
        name: abs(target.generation - donor.generation)
        + float((target.generation == 0) != (donor.generation == 0))
        + MATRIX_STEPS[2] * abs(np.log2(target.lanes / donor.lanes))
        for name, donor in donors.items()
    }
    near = [name for name, far in away.items() if far <= min(away.values()) + 1e-9]
    return dict.fromkeys(near, 1 / len(near))


def _ratios(target: Chip, donor: Chip) -> Chip:
    return replace(
        target,
        sustained_flops_per_s=donor.sustained_flops_per_s,
        bandwidth_bytes_per_s=donor.bandwidth_bytes_per_s,
        l2_bytes=donor.l2_bytes * target.sm_count / donor.sm_count,
    )


WEIGHTS: dict[str, Weigh] = {
    "by likeness (shipped)": chip_weights,
    "by generation and lanes": _discrete,
    "the nearest alone": _nearest,
}
SHIPPED = "this GPU (shipped)"
ASKED: dict[str, Callable[[Chip, Chip], Chip]] = {
    SHIPPED: lambda target, donor: target,
    "this GPU at the donor's ratios": _ratios,
    "the donor's board": lambda target, donor: donor,
}
# By likeness: each decay with each step (a generation, from Pascal, a doubling) of matrix families, and each step
# of vector families. SAME_PEAK is apart: no two training GPUs carry the same chip, so leaving out cannot judge it.
DECAYS = (0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0)
STEPS = ((1.0, 1.0, 0.0), (1.0, 1.0, 0.5), (1.0, 1.0, 1.0))
VECTOR = (*STEPS, (0.4, 0.8, 0.0), (0.0, 0.0, 0.0))


EXPERTS = "predict/experts.py"


def _likenesses(decay: float) -> Iterator[tuple[str, float, Held]]:
    """Words, decay and constants of each way to weigh by likeness; vector families keep `decay`."""
    for other, steps in product(DECAYS, STEPS):
        yield f"matrix: decay {other}, steps {_written(steps)}", other, {(EXPERTS, "MATRIX_STEPS"): steps}
    for steps in VECTOR:
        yield f"vector: steps {_written(steps)}", decay, {(EXPERTS, "VECTOR_STEPS"): steps}


def _written(steps: tuple[float, ...]) -> str:
    return ", ".join(f"{step:g}" for step in steps)


def best(table: pd.DataFrame) -> tuple[float, Held]:
    """Decay and constants of the least mean error of matrix families and of vector ones; the first if equal."""
    ways = {words: (decay, held) for words, decay, held in _likenesses(DECAY)}

    def least(kind: str, families: Iterable[str]) -> tuple[float, Held]:
        rows = table[table["weights"].str.startswith(f"{kind}:")]
        means = rows.set_index("weights")[[f"{name}_percent" for name in families]].mean(axis=1)
        return ways[str(means.idxmin())]

    decay, matrix = least("matrix", MATRIX_FAMILIES)
    return decay, matrix | least("vector", set(MEASURED_FAMILIES) - set(MATRIX_FAMILIES))[1]


def donors(model: Tilecast, measured: Measured) -> pd.DataFrame:
    """The `donors` table: mean error over the training GPUs of their large kernels, each GPU left out."""
    known: dict[tuple[str, ...], Array] = {}

    def correction(name: str, family: str, donor: str, how: str) -> Array:
        key = name, family, donor, how
        if key not in known:
            asked = ASKED[how](measured.chips[name], measured.chips[donor])
            features = measured.examples[name, family].physics(asked)[0].astype(float)
            known[key] = model.experts[donor][family][0].correction(features)
        return known[key]

    def row(weights: str, weigh: Weigh, asked: str, decay: float) -> dict[str, str | float]:
        errors: dict[str, list[float]] = {}
        for (name, family), one in measured.examples.items():
            others = {gpu: chip for gpu, chip in measured.chips.items() if gpu != name}
            shares = weigh(measured.chips[name], others, family in MATRIX_FAMILIES, decay)
            total = sum(share * correction(name, family, gpu, asked) for gpu, share in shares.items())
            rows_of = one.large if one.large.any() else np.ones(len(one.busy), dtype=bool)
            error = absolute_error_percent((one.base * np.exp(total))[rows_of], one.busy[rows_of])
            errors.setdefault(family, []).append(float(np.mean(error)))
        means = {f"{family}_percent": float(np.mean(errors[family])) for family in MEASURED_FAMILIES}
        return {"weights": weights, "asked": asked, **means, "mean_percent": float(np.mean(list(means.values())))}

    rows = [row(weights, weigh, how, measured.decay) for weights, weigh in WEIGHTS.items() for how in ASKED]
    for words, decay, held in _likenesses(measured.decay):
        with holding(held):
            rows.append(row(words, chip_weights, SHIPPED, decay))
    return check(pd.DataFrame(rows)[list(DONORS.columns)], DONORS, "donors table")
