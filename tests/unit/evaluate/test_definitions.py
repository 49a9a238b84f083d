"""The search for other definitions that give a claimed figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_claims import FIGURES, H100, TWO, V100, WHERE, claim, errors

from tilecast.evaluate.claims import (
    Claim,
)
from tilecast.evaluate.definitions import Match, chance, definitions, search

OTHERS = errors(
    ("neusight_published", H100, "bert_large", 8, 8.0),
    ("neusight_published", H100, "opt_13", 8, 12.0),
    ("neusight_published", V100, "opt_13", 8, 40.0),
    ("habitat_published", H100, "opt_13", 8, 77.7),
    ("tilecast", H100, "opt_13", 8, 55.5),
)


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (77.7, "Habitat (authors) (n = 1: 77.7)"),
        (12.0, "As many give only 0.8 % of random figures of like size."),
        (55.5, "None of"),
    ],
)
def test_the_search_names_a_definition_only_where_a_match_is_rare(claimed: float, expected: str) -> None:
    made = Claim.model_validate(claim(claimed=claimed))
    assert expected in search(made, made.query, OTHERS)  # type: ignore[arg-type]


def test_the_chance_of_a_match_is_that_of_random_figures() -> None:
    """One definition that gives 10 is met by the random figures from 5 to 20 within half a digit of it."""
    made = Claim.model_validate(claim(claimed=10))
    one = Match("all", 10.0, 1, 1, True)
    assert chance(made, [one], 1) == pytest.approx(np.log(10.5 / 9.5) / np.log(4), abs=0.04)
    assert chance(made, [one], 2) == 0 and chance(made, [one], 0) == 1


def test_the_search_tries_both_modes_where_one_is_meant_and_all_models_where_one_is() -> None:
    other = TWO.assign(mode="training", ape_percent=[30.0, 50.0])
    for more, claimed, words in (({}, 25.0, "both modes"), ({"model": "opt_13"}, 10.0, "all models")):
        made = Claim.model_validate(claim(claimed=claimed, query={**FIGURES, "where": {**WHERE, **more}}))
        assert words in search(made, made.query, pd.concat([TWO, other]))  # type: ignore[arg-type]


def test_the_search_counts_no_definition_twice() -> None:
    made = Claim.model_validate(claim())
    tried = list(definitions(made.query, TWO))  # type: ignore[arg-type]
    # Two cells make three sets of cells, under four statistics each; the claim itself is not another definition.
    assert len(tried) == 3 * 4 - 1
    assert {match.n for match in tried} == {1, 2}
    assert all(match.changes in (1, 2) for match in tried)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_of_the_definitions_that_give_a_figure_three_are_named(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = [Match(f"definition {number}", 12.0, 1, number, True) for number in range(count)]
    monkeypatch.setattr("tilecast.evaluate.definitions.definitions", lambda *_: tried)
    made = Claim.model_validate(claim(claimed=12.0))
    said = search(made, made.query, OTHERS)  # type: ignore[arg-type]
    assert said.count("(n = 1: 12.0)") == min(count, 3) and (", such as: " in said) == (count > 3)


def test_the_search_can_be_declined() -> None:
    made = Claim.model_validate(claim(claimed=12.0, search=False))
    assert search(made, made.query, OTHERS) == ""  # type: ignore[arg-type]
