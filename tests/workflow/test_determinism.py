"""Two runs from scratch give the same bytes, and the results say nothing of where and when they were made."""

from __future__ import annotations

import datetime
import platform
import sys
from pathlib import Path

import pytest
from copies import ROOT, Copy, without_results

pytestmark = pytest.mark.slow

STAGES = ("evaluation", "tables", "figures", "report", "tidy", "predict", "graphs")


def test_two_runs_from_scratch_give_the_same_bytes(finished: Copy, tmp_path: Path) -> None:
    elsewhere = without_results(
        finished, tmp_path / "elsewhere", TZ="Pacific/Kiritimati", LC_ALL="C", PYTHONHASHSEED="7"
    )
    elsewhere.snakemake(cores=1)
    first, second = finished.results(*STAGES), elsewhere.results(*STAGES)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    for name in ("evaluation/claims.csv", "evaluation/mape.csv", "evaluation/errors.csv", "report/index.html"):
        assert first[name]


def test_results_hold_no_path_host_or_date(finished: Copy, shared: Path) -> None:
    today = datetime.date.today()
    days = [today - datetime.timedelta(days=back) for back in (0, 1)]  # a run may begin before midnight
    formats = ("%Y-%m-%d", "%Y%m%d", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d %Y", "%d/%m/%Y", "%m/%d/%Y")
    traces = [day.strftime(form) for day in days for form in formats]
    traces += [str(shared), str(ROOT), sys.prefix]  # the first is where the workflow ran
    traces += [platform.node()] if len(platform.node()) > 6 else []  # a short name stands in many a word
    found = [
        (name, trace)
        for name, data in finished.results(*STAGES).items()
        for trace in traces
        if trace.encode() in data
    ]
    assert found == []
