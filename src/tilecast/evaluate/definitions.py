"""Other definitions under which a claimed error may hold: a fixed family, nearest to the claim first.

One or two of these may change at a time: the device, the predictor, the mode, the option, the batch sizes, the
models averaged over, the statistic. The family is the same for every claim; nothing is tuned to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilecast.evaluate.claims import Claim, Figures
from tilecast.evaluate.statistics import BY_NAME, DISTRIBUTED_OPTIONS
from tilecast.tables.naming import DEVICES, MODELS, MODES, PREDICTORS, is_published, ordered, vendor

NEAR = 0.002  # a definition also counts as found where it misses the claim by this fraction: 9.42 for 9.43
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


def _subsets(models: list[str]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(models)):
        yield from combinations(models, size)


def _dimensions(query: Figures, cells: pd.DataFrame) -> dict[str, Choices]:
    """What may change: dimension -> choices in words, with the mask of the cells chosen; the claim's own first."""
    wanted = query.conditions()
    everywhere = np.ones(len(cells), dtype=bool)

    def stated(column: str) -> Mask:
        return cells[column].isin(wanted[column]).to_numpy() if column in wanted else everywhere

    def single(column: str, names: dict[str, str]) -> Choices:
        values = cells[column]
        own: Choices = [("", stated(column))]
        return own + [
            (names.get(value, value), (values == value).to_numpy())
            for value in ordered(names, values.unique())
            if wanted.get(column) != (value,)
        ]

    batches = cells.groupby(["device", "model", "mode", "sequence_length"])["batch_size"]
    models = ordered(MODELS, cells["model"].unique())
    model_sets: Choices = [("", stated("model"))]
    for chosen in _subsets(models):
        if set(chosen) != set(wanted.get("model", ())):
            names = " + ".join(MODELS.get(model, model) for model in chosen)
            model_sets.append((f"only {names}", cells["model"].isin(chosen).to_numpy()))
    if "model" in wanted:
        model_sets.append(("all models", everywhere))
    makers = cells["device"].map(vendor)
    devices = single("device", DEVICES)
    devices += [(f"all {maker} GPUs", (makers == maker).to_numpy()) for maker in sorted(makers.unique())]
    return {
        "device": devices,
        "predictor": single("predictor", {name: PREDICTORS[name] for name in PREDICTORS if is_published(name)}),
        "mode": [*single("mode", MODES), *([("both modes", everywhere)] if "mode" in wanted else [])],
        "option": [
            ("", stated("option")),
            *(
                (words, cells["option"].isin(options).to_numpy())
                for words, options in OPTION_SETS.items()
                if set(wanted.get("option", ())) != set(options)
            ),
        ],
        "batch": [
            ("", stated("batch_size")),
            ("smallest batches", (cells["batch_size"] == batches.transform("min")).to_numpy()),
            ("largest batches", (cells["batch_size"] == batches.transform("max")).to_numpy()),
        ],
        "model": model_sets,
        "statistic": [("", query.statistic)]
        + [(name, name) for name in STATISTICS if name not in (query.statistic, "accuracy")],
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
    if (
        not claim.search
        or claim.comparison != "equals"
        or query.dataset != "errors"
        or query.column != "ape_percent"
    ):
        return ""
    if query.statistic not in STATISTICS and query.statistic != "value":
        return ""
    if query.statistic == "value":
        query = query.model_copy(update={"statistic": "mean"})
    cells = errors[errors["predictor"].map(is_published)].reset_index(drop=True)
    claimed = float(claim.claimed)
    printed = 0.5 * 10**-claim.decimals + 1e-9
    tried, matches = 0, []
    for found in definitions(query, cells):
        tried += 1
        if abs(found.value - claimed) <= max(printed, NEAR * claimed):
            matches.append(found)
    if not matches:
        return f"None of {tried:,} other definitions tried gives it."
    # First what a reader could have meant: all models, few changes; then the exact before the near, the broad
    # before the narrow.
    matches.sort(
        key=lambda match: (
            not match.all_models,
            match.changes,
            abs(match.value - claimed) > printed,
            -match.n,
            match.words,
        )
    )
    named = [f"{match.words} (n = {match.n}: {match.value:.{claim.decimals}f})" for match in matches[:MOST_NAMED]]
    first = "" if len(matches) <= MOST_NAMED else ", such as"
    return (
        f"It matches only under {len(matches)} of {tried:,} other definitions tried{first}: {'; '.join(named)}. "
        "Among so many, some match by chance."
    )
