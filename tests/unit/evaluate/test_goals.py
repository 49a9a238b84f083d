"""Goals: the right cells, the same for both sides, and words that follow from the figures."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tilecast.evaluate.goals import GOALS, OPERATORS, OURS, STATED, THEIRS, goals_of, goals_table, verdict
from tilecast.tables.declared.evaluation import GOALS as GOALS_TABLE

CELL = {"model": "bert_large", "sequence_length": 512, "batch_size": 8, "option": "none", "distribution": "in"}
H100, T4 = "NVIDIA_H100_80GB_HBM3", "Tesla_T4"


def cells(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    columns = ["predictor", "device", "mode", "ape_percent"]
    return pd.DataFrame([dict(zip(columns, row, strict=True)) | CELL for row in rows])


def by_group(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    return {str(row["group"]): row for row in table.to_dict("records")}


def test_goals_are_compared_on_the_cells_both_sides_have() -> None:
    errors = cells(
        (OURS, H100, "inference", 4.0),
        (THEIRS, H100, "inference", 9.0),
        (OURS, H100, "training", 5.0),
        (THEIRS, H100, "training", 3.0),
        (OURS, T4, "inference", 90.0),  # theirs is missing: it counts for nobody
        (OURS, "AMD_Instinct_MI100", "inference", 90.0),
    )
    phases = errors.assign(phase="forward")
    operators = errors.assign(operator_class="bmm", distribution="out")
    table = goals_table(errors, phases, operators)
    assert list(table.columns) == list(GOALS_TABLE.columns)
    found = by_group(table)
    figures = {"n": 2, "theirs_percent": 6.0, "ours_percent": 4.5, "bar_percent": 6.5}
    assert found["all cells"] == {"group": "all cells", "verdict": "met"} | figures
    assert found["H100 training"]["verdict"] == "missed" and found["H100 inference"]["verdict"] == "met"
    assert found["T4"]["verdict"] == "no data" and found["T4"]["n"] == 0
    assert found["backward pass of training"]["verdict"] == "no data"
    operators_row = found["Batched matmul operators out of distribution"]
    assert operators_row["bar_percent"] == pytest.approx(6.0) and operators_row["verdict"] == "met"


def test_without_cells_every_goal_says_so() -> None:
    nothing = cells((OURS, H100, "inference", 1.0)).head(0)
    table = goals_table(nothing, nothing.assign(phase=""), nothing.assign(operator_class=""))
    assert set(table["verdict"]) == {"no data"} and len(table) == 15 + len(OPERATORS)


def test_goals_are_found_by_group_and_each_is_stated_in_a_document() -> None:
    assert [(goal.statistic, goal.percent) for goal in goals_of("steps", suite="artifact")] == [
        ("mean", 5.5),
        ("worst", 12.0),
    ]
    assert goals_of("steps", suite="recompute") == []
    root = Path(__file__).parents[3]
    assert {goal.table for goal in GOALS} | {"operators"} == set(STATED)
    assert all((root / document).is_file() for document in STATED.values())


def test_goals_of_half_precision_are_those_of_its_design_log() -> None:
    log = (Path(__file__).parents[3] / STATED["serving"]).read_text()
    for table, row in (("serving", r"\| all dense \|"), ("generations", r"\| \| tilecast \|")):
        stated = re.search(rf"^{row}.*\| (.*) \|$", log, re.MULTILINE)
        assert stated and [float(n) for n in re.findall(r"\d+", stated[1])] == [g.percent for g in goals_of(table)]


def test_goals_of_cells_steps_and_collectives_are_those_of_their_documents() -> None:
    root = Path(__file__).parents[3]
    log, steps, collectives = ((root / STATED[name]).read_text() for name in ("cells", "steps", "collectives"))
    rows = re.search(r"^\| cells \| n \| authors \| tilecast \| bar \|\n(.*?)\n\n", log, re.MULTILINE | re.DOTALL)
    assert rows
    stated = [re.findall(r"(?<![P\d])\d+(?:\.\d)?", row.split("|")[-2]) for row in rows[1].splitlines()[1:]]
    once = {"P4", "backward pass of training"}  # one figure stands for two goals
    goals = [goal.percent for table in ("cells", "phases") for goal in goals_of(table) if goal.name not in once]
    assert [float(figure) for row in stated for figure in row] == goals
    worded = re.findall(r"\| mean ([\d.]+)(?:, worst ([\d.]+))?", steps)
    assert [float(n) for pair in worded for n in pair if n] == [goal.percent for goal in goals_of("steps")]
    (said,) = re.findall(r"^Goals for the mean .*$", collectives, re.MULTILINE)
    assert [float(n) for n in re.findall(r"(\d+) %", said)] == [g.percent for g in goals_of("collectives")]


def test_a_verdict_needs_a_goal_and_an_error() -> None:
    assert verdict([5.0, 12.0], [5.5, 12.0]) == "met" and verdict([5.6], [5.5]) == "missed"
    assert verdict([], []) == "no goal" and verdict([None], [5.5]) == "no data"
