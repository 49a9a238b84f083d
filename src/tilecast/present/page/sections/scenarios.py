"""Named scenarios with what others measured."""

from __future__ import annotations

from typing import Any

from tilecast.evaluate.statistics import error_summary
from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.tables.declared.measured import SCENARIOS
from tilecast.tables.naming import device_name

COLUMNS = (
    Column("id", "Scenario"),
    Column("compute_ms", "Compute only", "ms", 1, "none"),
    Column("latency_ms", "With communication", "ms", 1, "none"),
    Column("range", "80 % interval", "ms", right=True, absent="none"),
    Column("truth", "Measured by others", "ms", right=True, absent="no ground truth"),
    Column("ape_percent", "Error", "%", 1, "none"),
    Column("device", "GPU"),
    Column("layout", "Layout"),
    Column("title", "What it is", prose=True),
    Column("truth_source", "Source", prose=True, absent="none found"),
    Column("reason", "Remark", prose=True, absent=""),
)


def context(results: Results) -> dict[str, Any]:
    """Every scenario, failed ones too, and how many there are of each kind."""
    frame = results.table("measure/scenarios.csv", SCENARIOS)
    assert frame is not None
    rows = [
        {str(name): value for name, value in row.items()}
        | {
            "device": device_name(row["device"]).removeprefix("NVIDIA_"),
            "range": _span(row["low_ms"], row["high_ms"], ".1f"),
            "truth": _span(row["truth_low_ms"], row["truth_high_ms"], ".4g"),
        }
        for row in frame.to_dict("records")
    ]
    judged = frame[frame["truth_low_ms"].notna()]
    errors = judged["ape_percent"].dropna()
    return {
        "rows": rows,
        "columns": COLUMNS,
        "n": len(frame),
        "failed": int((frame["outcome"] == "failed").sum()),
        "judged": len(judged),
        "near": int((errors <= 20).sum()),
        "mean": error_summary(errors)["mape_percent"] if len(errors) else None,
        "links": results.links("measure", "scenarios", (".csv",)),
    }


def _span(low: float, high: float, form: str) -> str:
    """`133 to 139`, one number where both are the same, nothing where there is none."""
    if low != low or high != high:
        return ""
    first, last = f"{low:,{form}}", f"{high:,{form}}"
    return first if first == last else f"{first} to {last}"
