"""Other ways to borrow from training GPUs, each judged by leaving one of them out.

How the experts of other GPUs are weighed, and what they are asked: the correction of a kernel on the GPU forecast;
on that GPU with the donor's operations per byte and cache a multiprocessor; or on the donor's own board. Asked by
the last two, a correction does not change with bandwidth, clock or cache, so a better board is never slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.rivals import Measured
from tilecast.predict.experts import MATRIX_STEPS, chip_weights, distance, likeness, shared_out
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES
from tilecast.predict.physics.chip import Chip
from tilecast.predict.tilecast import Tilecast
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
ASKED: dict[str, Callable[[Chip, Chip], Chip]] = {
    "this GPU (shipped)": lambda target, donor: target,
    "this GPU at the donor's ratios": _ratios,
    "the donor's board": lambda target, donor: donor,
}


def donors(model: Tilecast, measured: Measured) -> pd.DataFrame:
    """The `donors` table: mean error over the training GPUs of their large kernels, each GPU left out."""
    rows: list[dict[str, str | float]] = []
    known: dict[tuple[str, ...], Array] = {}

    def correction(name: str, family: str, donor: str, how: str) -> Array:
        key = name, family, donor, how
        if key not in known:
            asked = ASKED[how](measured.chips[name], measured.chips[donor])
            features = measured.examples[name, family].physics(asked)[0].astype(float)
            known[key] = model.experts[donor][family][0].correction(features)
        return known[key]

    for weights, weigh in WEIGHTS.items():
        for how in ASKED:
            errors: dict[str, list[float]] = {}
            for (name, family), one in measured.examples.items():
                others = {gpu: chip for gpu, chip in measured.chips.items() if gpu != name}
                shares = weigh(measured.chips[name], others, family in MATRIX_FAMILIES, measured.decay)
                total = sum(share * correction(name, family, gpu, how) for gpu, share in shares.items())
                rows_of = one.large if one.large.any() else np.ones(len(one.busy), dtype=bool)
                error = absolute_error_percent((one.base * np.exp(total))[rows_of], one.busy[rows_of])
                errors.setdefault(family, []).append(float(np.mean(error)))
            means = {f"{family}_percent": float(np.mean(errors[family])) for family in MEASURED_FAMILIES}
            mean = float(np.mean(list(means.values())))
            rows.append({"weights": weights, "asked": how, **means, "mean_percent": mean})
    return check(pd.DataFrame(rows)[list(DONORS.columns)], DONORS, "donors table")
