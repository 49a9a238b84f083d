"""What a finished default run has written."""

from __future__ import annotations

import datetime
import platform
import re
import sys
from pathlib import Path

import pytest
from copies import ROOT, Copy

pytestmark = pytest.mark.slow

STAGES = ("evaluation", "tables", "figures", "report", "tidy", "predict", "graphs")  # not of the machine it ran on


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


def test_the_report_is_small_and_its_tables_are_few_pages(finished: Copy) -> None:
    pages = finished.results("report")
    assert len(pages) == 6 and all(len(page) < 2_000_000 for page in pages.values())
    tables = finished.results("tables")
    assert len(re.findall(rb"/Type\s*/Page[^s]", tables["tables/tables.pdf"])) <= 15
    parts = re.findall(rb"\\input{(.*?)}", tables["tables/tables.tex"])
    assert parts and all(f"tables/{part.decode()}" in tables for part in parts)


@pytest.mark.artifact
def test_every_difference_from_the_artifacts_graphs_is_committed_with_its_reason(finished: Copy) -> None:
    found = finished.root / "results/graphs/differences.csv"
    assert found.read_bytes() == (ROOT / "resources/published/graph_differences.csv").read_bytes()
