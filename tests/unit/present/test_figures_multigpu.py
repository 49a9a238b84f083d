"""Figures of many GPUs: drawn from the record, the same bytes twice, with words; small; and from nothing."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pandas as pd
import pytest
from pictures import save

from tilecast.present.figures import style

RECORD = Path(__file__).resolve().parents[3] / "resources/studies/multigpu"
SOURCES = {
    "breakdown": ("parts",),
    "timeline": ("timeline",),
    "pareto": ("search", "serving"),
    "scaling": ("scaling",),
}
COLLECTIVES = pd.DataFrame(
    [
        {
            "basis": basis,
            "system": system,
            "op": "all_reduce",
            "gpus": gpus,
            "bytes": size,
            "reference": "h100_sxm",
        }
        for basis, system in (("leave-one-size-out", "h100_sxm"), ("spec-only", "b200_sxm"), ("spec-only", "mine"))
        for gpus in (2, 8)
        for size in (2**10, 2**20, 2**30)
    ]
).assign(
    measured_ms=lambda frame: 0.01 + frame["bytes"] / 1e8,
    predicted_ms=lambda frame: 0.011 + frame["bytes"] / 1e8,
    held_out_ms=lambda frame: 0.011 + frame["bytes"] / 1e8,
    ape_percent=5.0,
)


def draw(name: str) -> style.Picture:
    tables = (
        [pd.read_csv(RECORD / f"{table}.csv") for table in SOURCES[name]] if name in SOURCES else [COLLECTIVES]
    )
    picture: style.Picture = importlib.import_module(f"tilecast.present.figures.parallel_{name}").draw(*tables)
    return picture


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SOURCES, "collectives"])
def test_a_figure_is_small_and_says_in_words_what_it_shows(name: str, tmp_path: Path) -> None:
    paths = save(draw(name), tmp_path, f"parallel_{name}")
    assert paths["svg"].stat().st_size < 170_000
    words = json.loads(paths["about"].read_text())
    assert words["n"] > 0 and len(words["alt"]) > len(words["title"]) and "nan" not in words["alt"]


@pytest.mark.parametrize("name", [*SOURCES, "collectives"])
def test_nothing_is_said_to_be_nothing(name: str) -> None:
    tables = [pd.read_csv(RECORD / f"{table}.csv").iloc[:0] for table in SOURCES.get(name, ())]
    picture = importlib.import_module(f"tilecast.present.figures.parallel_{name}").draw(
        *(tables or [COLLECTIVES.iloc[:0]])
    )
    assert picture.n == 0 and picture.reason
