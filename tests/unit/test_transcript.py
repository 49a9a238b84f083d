"""Pages of commands with their answers show the commands of the script that writes them, and tables that agree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def script():
    spec = importlib.util.spec_from_file_location("transcript", ROOT / "benchmarks/transcript.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_show_the_commands_of_today() -> None:
    module = script()
    page = (ROOT / "docs/use/first-commands.md").read_text()
    assert tuple(re.findall(r"^\$ (.*)$", page, re.M)) == module.FIRST
    page = (ROOT / "docs/evidence/scenarios.md").read_text()
    for one in module.SCENARIOS:
        assert f"{one.command}   # {one.id}" in page


def test_a_scenario_is_inside_where_its_interval_holds_the_middle() -> None:
    rows = re.findall(r"^\| [IT]\d.*$", (ROOT / "docs/evidence/scenarios.md").read_text(), re.M)
    judged = 0
    for row in rows:
        name, forecast, interval, measured, error, inside, why = (
            cell.strip() for cell in row.strip("|").split("|")
        )
        if inside not in ("yes", "no"):
            continue
        low, high = map(float, interval.split(" to "))
        truths = [float(part) for part in measured.split(" to ")]
        middle = (min(truths) + max(truths)) / 2
        assert (inside == "yes") == (low <= middle <= high), name
        assert abs(100 * (float(forecast) / middle - 1) - float(error.split(" ")[0])) < 1
        assert bool(why) == (inside == "no"), f"{name}: a miss has a reason"
        judged += 1
    assert judged == 6


def test_an_answer_of_today_is_the_pages() -> None:
    """One of the scenarios, asked again: a forecast that changes has its page written anew."""
    import tilecast as tc

    page = (ROOT / "docs/evidence/scenarios.md").read_text()
    found = tc.forecast("llama2_7b", "A100", dtype="fp16", phase="decode", context=2048)
    low, high = found.interval_ms or (0.0, 0.0)
    assert f"| {found.latency_ms:.1f} | {low:.1f} to {high:.1f} | 9 to 11 |" in page, "make transcript"
