"""Scenarios: the shipped file is whole, truths have sources, failures stay in the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("transformers")

from tilecast.base.errors import InputError
from tilecast.evaluate.scenarios import _error, evaluate, read_scenarios
from tilecast.predict.registry import load_predictor
from tilecast.tables.declared.measured import SCENARIOS
from tilecast.tables.io import check

NAMED = ("I1.1", "I1.2", "I1.3", "T1.1", "T2.1", "DP4", "TP4", "PP4", "fused", "unfused")
MODELS = ("gpt3_27", "bert_large", "opt_13", "switchxl4")


@pytest.fixture(scope="module")
def shipped(repository: Path) -> list[dict[str, Any]]:
    return read_scenarios(repository / "config/studies/scenarios.yaml")


def test_the_shipped_scenarios_name_all_that_is_asked_for(shipped: list[dict[str, Any]]) -> None:
    names = [entry["id"] for entry in shipped]
    assert all(any(name.startswith(wanted) for name in names) for wanted in NAMED)
    assert {entry["work"].spec.name for entry in shipped} >= set(MODELS)
    assert all(source for entry in shipped for _, source in entry["truth"])


@pytest.fixture(scope="module")
def table(shipped: list[dict[str, Any]]) -> pd.DataFrame:
    chosen = [
        entry for entry in shipped if entry["id"] in ("I1.1 decode", "I1.3 one GPU", "TP4 GPT2-Large", "T2.1")
    ]
    cell = {"device": "NVIDIA_A100-SXM4-40GB", "model": "gpt2_large", "mode": "training", "sequence_length": 1024}
    labels = pd.DataFrame(
        [cell | {"batch_size": 4, "option": "tp4", "latency_ms": 480.0, "source": "a/b-tp4.json"}]
    )
    return evaluate(chosen, load_predictor("roofline"), labels).set_index("id")


def test_a_scenario_that_does_not_fit_stays_and_says_why(table: pd.DataFrame) -> None:
    check(table.reset_index(), SCENARIOS, "scenarios")
    failed = table[table["outcome"] == "failed"]
    assert list(failed.index) == ["I1.3 one GPU"] and "does not fit" in failed["reason"].iloc[0]
    assert failed["latency_ms"].isna().all()


def test_truth_comes_from_its_source_or_a_measured_cell_or_is_missing(table: pd.DataFrame) -> None:
    decode, split, none = table.loc["I1.1 decode"], table.loc["TP4 GPT2-Large"], table.loc["T2.1"]
    assert (decode["truth_low_ms"], decode["truth_high_ms"]) == (9, 11) and "lmdeploy" in decode["truth_source"]
    assert decode["ape_percent"] == pytest.approx(abs(decode["latency_ms"] / 10 - 1) * 100)
    assert split["truth_low_ms"] == 480.0 and "b-tp4.json" in split["truth_source"]
    assert pd.isna(none["truth_low_ms"]) and pd.isna(none["ape_percent"]) and none["latency_ms"] > 0


def test_communication_adds_time_where_there_is_some(table: pd.DataFrame) -> None:
    assert table.loc["I1.1 decode", "latency_ms"] == pytest.approx(table.loc["I1.1 decode", "compute_ms"])
    assert table.loc["TP4 GPT2-Large", "latency_ms"] > table.loc["TP4 GPT2-Large", "compute_ms"]


ONE = "scenarios:\n  - {id: a, title: b, work: {model: gpt2, sequence: 8}, system: a100_sxm"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "is not a mapping; see config/studies/scenarios.yaml"),
        (ONE + ", colour: red}", "scenario a: unknown key `colour`"),
        (ONE + ", layout: {xp: 2}}", "scenario a: unknown key `layout.xp`"),
        (ONE + ", truth: [{ms: 3}]}", "scenario a, truth 1: `source` is missing"),
        (
            ONE + ", truth: [{ms: -3, source: x}]}",
            "scenario a, truth 1: `ms` = -3: Input should be greater than 0",
        ),
        (ONE + "}\n" + ONE.split("\n")[1] + "}", "occurs twice"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_scenarios(tmp_path / "s.yaml")


def test_an_error_needs_a_forecast_and_both_ends_of_what_was_measured() -> None:
    assert _error(5.0, 3.0, 5.0) == 25.0
    assert [_error(*ends) for ends in ((None, 3.0, 5.0), (5.0, None, 5.0), (5.0, 3.0, None))] == [None] * 3
