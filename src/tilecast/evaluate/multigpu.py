"""Errors of forecasts on many GPUs: of steps by suite beside the goals, and of single collective operations.

One set of assumptions for all steps: `tilecast.multigpu.layout.Assumptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.paths import PUBLISHED
from tilecast.base.statistics import absolute_error_percent, error_percent
from tilecast.evaluate.constants import holding
from tilecast.evaluate.goals import goals_of
from tilecast.evaluate.published_steps import SOURCES, TABLES, Case, every_case
from tilecast.evaluate.statistics import ALL, error_summary, inside, summary_of
from tilecast.hardware.device_file import devices
from tilecast.hardware.system import load_system
from tilecast.multigpu.kernels import Kernels
from tilecast.multigpu.shipped_shares import key, load
from tilecast.multigpu.step import Step, StepForecaster
from tilecast.predict.kernel import Predictor
from tilecast.predict.physics.throttle import SHARE
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import LABELS, PREDICTIONS
from tilecast.tables.declared.multigpu import SUSTAINED, SUSTAINED_SHARES, VALIDATION
from tilecast.tables.io import check, empty, read

SLOWED = PUBLISHED / "sustained_shares.csv"
SUITES = ("artifact", *TABLES, "published", *SOURCES)  # `published` is all of the sources


def validate(
    labels: pd.DataFrame,
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    predictor: Predictor,
    traced: str | Path,
) -> pd.DataFrame:
    """Every case of every suite, forecast. `predictions` holds the authors' own forecasts."""
    cell = list(CELL_KEY)
    own = predictions[predictions["predictor"] == "neusight_published"].set_index(cell)["latency_ms"]
    forecast, rows = Forecaster(predictor, traced), []
    for case in every_case(labels, tables):
        authors_ms = np.nan
        if case.suite == "artifact":
            authors_ms = float(own.get(tuple(case.row[name] for name in cell), np.nan))
        step = forecast(case)
        row = {name: getattr(case, name) for name in ("suite", "system", "device", "measured_ms")}
        row |= {"case": case.name, "gpus": step.layout.gpus, "layout": step.layout.label}
        row |= {"forecast_ms": step.latency_ms, "low_ms": step.low_ms, "high_ms": step.high_ms}
        row |= {"error_percent": error_percent(step.latency_ms, case.measured_ms), "authors_ms": authors_ms}
        parts = {f"{part}_ms": value for part, value in step.parts.items()}
        rows.append(row | {"fits": step.memory.fits} | parts)
    return pd.DataFrame(rows, columns=list(VALIDATION.columns))


class Forecaster:
    """Forecasts of steps; kernels that two cases share are forecast once."""

    def __init__(self, predictor: Predictor, traced: str | Path) -> None:
        self.predictor, self.traced = predictor, traced
        self._known = devices()
        self._kernels: dict[tuple[str, str], Kernels] = {}

    def __call__(self, case: Case) -> Step:
        """The forecast step of a case."""
        system, device, shares = load_system(case.system), self._known[case.device], load(self.traced, case.work)
        forecaster = StepForecaster(case.work, system, device, self.predictor, case.assume, traced=shares)
        forecaster.kernels = self._kernels.setdefault((key(case.work), device.name), forecaster.kernels)
        return forecaster.step(case.layout)


def scoreboard(cases: pd.DataFrame) -> pd.DataFrame:
    """Errors of every suite with its goals: mean, median, worst, signed; how many intervals hold."""
    rows = []
    for suite in SUITES:
        part = cases[cases["suite"].isin(SOURCES if suite == "published" else (suite,))]
        error = error_summary(part["error_percent"])
        authors = error_summary(absolute_error_percent(part["authors_ms"], part["measured_ms"]))
        goals = {goal.statistic: goal.percent for goal in goals_of("steps", suite=suite)}
        rows.append(
            {
                "suite": suite,
                "cases": len(part),
                "mean_percent": error["mape_percent"],
                "median_percent": error["median_percent"],
                "worst_percent": error["worst_percent"],
                "signed_percent": error["bias_percent"],
                "covered": int(inside(part["measured_ms"], part["low_ms"], part["high_ms"]).sum()),
                "fitting": int(part["fits"].sum()),
                "authors_percent": authors["mape_percent"],
                "bar_mean_percent": goals.get("mean", np.nan),
                "bar_worst_percent": goals.get("worst", np.nan),
            }
        )
    return pd.DataFrame(rows)


def sustained(tables: Mapping[str, pd.DataFrame], predictor: Predictor, traced: str | Path) -> pd.DataFrame:
    """The `sustained` table: published steps forecast with each rule that the three frameworks' times suggest."""
    known = read(SLOWED, SUSTAINED_SHARES)
    rules = {str(rule): dict(zip(part["device"], part["share"])) for rule, part in known.groupby("rule")}
    parts = []
    for rule, shares in {**rules, "none": dict.fromkeys(SHARE, 1.0)}.items():
        with holding({("predict/physics/throttle.py", "SHARE"): shares}):
            cases = validate(empty(LABELS), empty(PREDICTIONS), tables, predictor, traced)
        board = scoreboard(cases)
        board = board[board["suite"].isin((*TABLES, "published"))].rename(columns={"cases": "n"})
        parts.append(board.assign(rule=rule))
    table = pd.concat(parts, ignore_index=True)
    return check(table[list(SUSTAINED.columns)], SUSTAINED, "sustained table")


def collective_errors(cells: pd.DataFrame) -> pd.DataFrame:
    """The `collectives_mape` table: mean and worst error of all sizes, and of those from 1 MiB."""
    large = cells[cells["bytes"] >= 1 << 20]
    both = pd.concat([cells.assign(sizes=ALL), large.assign(sizes="from 1 MiB")])
    group = ["basis", "system", "op", "sizes"]
    return summary_of(both, group)[[*group, "n", "mape_percent", "worst_percent"]]
