"""Other definitions of a claimed error that give the claimed figure: fewest changes first.

One or two of these may change at a time: the device, the predictor, the mode, the option, the batch sizes, the
models averaged over, the statistic. The choices are the same for every claim; nothing is tuned to one of them.
Among a thousand definitions some give any figure, so a match is named only where as many are rare by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilecast.evaluate.claims import Claim, Figures
from tilecast.evaluate.statistics import BY_NAME, DISTRIBUTED_OPTIONS
from tilecast.tables.naming import DEVICES, MODELS, MODES, PREDICTORS, is_published, ordered, vendor

NEAR = Decimal(
    "0.002"
)  # a definition also counts as found where it misses the claim by this fraction: 9.42 for 9.43
MOST_NAMED = 3  # definitions named
RARE = 0.05  # the chance of as many matches below which they are named
TARGETS = 400  # random figures, from half to twice the claimed one, that the chance is counted from
Mask = NDArray[np.bool_]
Choices = list[tuple[str, Mask | str]]  # in words, and the cells chosen or the statistic
STATISTICS = ("mean", "accuracy", "median", "max", "min")
OPTION_SETS = {
    "plain cells": ("none",),
    "fused cells": ("fusion",),
    "plain and fused cells": ("none", "fusion"),
    "four-GPU cells": DISTRIBUTED_OPTIONS,
    "plain, fused and four-GPU cells": ("none", "fusion", *DISTRIBUTED_OPTIONS),
}


@dataclass(frozen=True)
class Match:
    """A definition that gives the claimed figure."""

    words: str
    value: float
    n: int
    changes: int
    all_models: bool  # not restricted to a set of models that the claim does not name


def _dimensions(query: Figures, cells: pd.DataFrame) -> dict[str, Choices]:
    """What may change: dimension -> choices in words, with the mask of the cells chosen; the claim's own first."""
    wanted = query.conditions()
    everywhere = np.ones(len(cells), dtype=bool)

    def stated(column: str) -> Choices:
        mask = cells[column].isin(wanted[column]).to_numpy() if column in wanted else everywhere
        return [("", mask)]

    def among(column: str, sets: Mapping[str, Sequence[str]]) -> Choices:
        own = set(wanted.get(column, ()))
        return [(words, cells[column].isin(some).to_numpy()) for words, some in sets.items() if set(some) != own]

    def single(column: str, names: dict[str, str]) -> Choices:
        sets = {names.get(value, value): (value,) for value in ordered(names, cells[column].unique())}
        return stated(column) + among(column, sets)

    batch, batches = (
        cells["batch_size"],
        cells.groupby(["device", "model", "mode", "sequence_length"])["batch_size"],
    )
    models = ordered(MODELS, cells["model"].unique())
    subsets = [some for size in range(1, len(models)) for some in combinations(models, size)]
    model_sets = {f"only {' + '.join(MODELS.get(model, model) for model in some)}": some for some in subsets}
    makers = cells["device"].map(vendor)
    published = {name: words for name, words in PREDICTORS.items() if is_published(name)}
    every_mode: Choices = [("both modes", everywhere)] if "mode" in wanted else []
    every_model: Choices = [("all models", everywhere)] if "model" in wanted else []
    statistics: Choices = [(name, name) for name in STATISTICS if name not in (query.statistic, "accuracy")]
    return {
        "device": single("device", DEVICES)
        + [(f"all {maker} GPUs", (makers == maker).to_numpy()) for maker in sorted(makers.unique())],
        "predictor": single("predictor", published),
        "mode": single("mode", MODES) + every_mode,
        "option": stated("option") + among("option", OPTION_SETS),
        "batch": [
            *stated("batch_size"),
            ("smallest batches", (batch == batches.transform("min")).to_numpy()),
            ("largest batches", (batch == batches.transform("max")).to_numpy()),
        ],
        "model": stated("model") + among("model", model_sets) + every_model,
        "statistic": [("", query.statistic), *statistics],
    }


def definitions(query: Figures, cells: pd.DataFrame) -> Iterator[Match]:
    """Every definition that differs from the claim's in one dimension, then in two, with what it gives.

    One that comes to the same cells and the same statistic as an earlier one, or as the claim, is not another.
    """
    dimensions = _dimensions(query, cells)
    error = cells["ape_percent"].to_numpy(dtype=float)
    fixed = np.ones(len(cells), dtype=bool)
    for column in ("sequence_length", "distribution"):
        if column in query.where:
            fixed &= cells[column].isin(query.conditions()[column]).to_numpy()
    seen: set[tuple[bytes, str]] = set()
    for changes in (0, 1, 2):
        for changed in combinations(dimensions, changes):
            options = [choices[1:] if name in changed else choices[:1] for name, choices in dimensions.items()]
            for picks in product(*options):
                kept = fixed.copy()
                statistic = ""
                for _, pick in picks:
                    if isinstance(pick, str):
                        statistic = pick
                    else:
                        kept &= pick
                mark = (np.packbits(kept).tobytes(), statistic)
                if mark in seen or not kept.any():
                    continue
                seen.add(mark)
                if changes:
                    words = ", ".join(word for word, _ in picks if word)
                    value = BY_NAME[statistic](error[kept])
                    yield Match(words, value, int(kept.sum()), changes, "model" not in changed)


def chance(claim: Claim, tried: Sequence[Match], matches: int) -> float:
    """How often a random figure of like size is given by at least as many of the definitions."""
    values = np.array([found.value for found in tried])
    draws = np.random.default_rng(0).uniform(-1, 1, TARGETS)
    targets = np.round(float(claim.figure) * 2.0**draws, claim.decimals)
    near = np.maximum(float(claim.half_unit), float(NEAR) * np.abs(targets))
    counts = (np.abs(values[None, :] - targets[:, None]) <= near[:, None]).sum(axis=1)
    return float((counts >= matches).mean())


def search(claim: Claim, query: Figures, errors: pd.DataFrame) -> str:
    """What the other definitions of a claimed error give; empty for what is no error of cells."""
    of_errors = query.dataset == "errors" and query.column == "ape_percent"
    if not claim.search or claim.comparison != "equals" or not of_errors:
        return ""
    if query.statistic not in (*STATISTICS, "value"):
        return ""
    if query.statistic == "value":
        query = query.model_copy(update={"statistic": "mean"})
    cells = errors[errors["predictor"].map(is_published)].reset_index(drop=True)
    near = max(claim.half_unit, NEAR * abs(claim.figure))
    tried = list(definitions(query, cells))
    matches = [found for found in tried if claim.off(found.value) <= near]
    if not matches:
        return f"None of {len(tried):,} other definitions tried gives it."
    odds = chance(claim, tried, len(matches))
    counts = f"{len(matches)} of {len(tried):,} other definitions tried"
    if odds >= RARE:
        share = f"{100 * odds:.0f} % of random figures of like size"
        return f"{counts} give it, which says nothing: as many give {share}."

    def rank(match: Match) -> tuple[object, ...]:
        # First what a reader could have meant: all models, few changes; then the exact, then the broad.
        exact = claim.off(match.value) <= claim.half_unit
        return not match.all_models, match.changes, not exact, -match.n, match.words

    matches.sort(key=rank)
    named = [f"{match.words} (n = {match.n}: {match.value:.{claim.decimals}f})" for match in matches[:MOST_NAMED]]
    first = "" if len(matches) <= MOST_NAMED else ", such as"
    return (
        f"It may have been meant otherwise: {counts} give it{first}: {'; '.join(named)}. "
        f"As many give only {100 * odds:.1f} % of random figures of like size."
    )
