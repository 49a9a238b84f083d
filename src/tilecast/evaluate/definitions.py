"""Other definitions of a claimed error that give the claimed figure: fewest changes first.

One or two of these may change at a time: the device, the predictor, the mode, the option, the batch sizes, the
models averaged over, the statistic. The choices are the same for every claim; nothing is tuned to one of them.
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
MOST_NAMED = 3  # definitions named in the explanation
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


def search(claim: Claim, query: Figures, errors: pd.DataFrame) -> str:
    """One sentence on the other definitions that give the claimed error; empty for what is no error of cells."""
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

    def rank(match: Match) -> tuple[object, ...]:
        # First what a reader could have meant: all models, few changes; then the exact, then the broad.
        exact = claim.off(match.value) <= claim.half_unit
        return not match.all_models, match.changes, not exact, -match.n, match.words

    matches.sort(key=rank)
    named = [f"{match.words} (n = {match.n}: {match.value:.{claim.decimals}f})" for match in matches[:MOST_NAMED]]
    first = "" if len(matches) <= MOST_NAMED else ", such as"
    counts = f"{len(matches)} of {len(tried):,} other definitions tried"
    return f"It matches only under {counts}{first}: {'; '.join(named)}. Among so many, some match by chance."
