"""Locality: whether it can be tested here, what the studies consist of, what is forecast, what was measured."""

from __future__ import annotations

from typing import Any

from tilecast.evaluate.locality import by_cell, possible
from tilecast.locality.guide import CLAIMED_PENALTIES
from tilecast.locality.host import OPEN
from tilecast.present.page.results import Results
from tilecast.present.page.sections.figures import of_stage
from tilecast.present.page.shown import interval, records, shown, span
from tilecast.tables.declared.locality import AGAINST, COMPARISON, COUNTS, PREDICTED, PROFILES, RUNS
from tilecast.tables.schema import positive, prose, size

NEEDS = (
    "numa/topology.json",
    "numa/counts.csv",
    "numa/predicted.csv",
    *(f"numa/record/{name}.csv" for name in ("runs", "comparison", "against", "profiles")),
    "numa/record/summary.json",
)
SOURCES = " copies_from compute_from launch_from"
UNHARMED_PERCENT = 1
WHICH = {"record": "What was measured", "newest": "The newest run here"}


def _rate(title: str) -> Any:
    return positive("throughput", title=title, unit="samples/s", digits=0, empty="not measured")


MEASURED = {
    "runs": size("x", title="Runs"),
    "ok": positive("x", title="Succeeded", unit="%", digits=0),
    "samples_per_s": _rate("Median"),
    "low": _rate("Least"),
    "high": _rate("Most"),
    "overlap_percent": positive("x", title="Copy hidden", empty="not profiled"),
    "busy_percent": positive("x", title="Device busy", empty="not profiled"),
    "reason": prose("x", title="Why not", empty="all ran"),
}


def context(results: Results) -> dict[str, Any]:
    """What the section shows; every figure from a results file."""
    counts = results.table("numa/counts.csv", COUNTS)
    predicted = results.table("numa/predicted.csv", PREDICTED)
    topology = results.json("numa/topology.json")
    assert topology is not None
    plain = predicted[predicted["dtype"] == "fp32"]
    plain = plain.iloc[(2 * plain["compiled"] + (plain["host"] != OPEN)).argsort(kind="stable")]
    eager = plain[~plain["compiled"] & (plain["memory"] == "pinned")]
    return {
        "host": str(topology["host"]).capitalize(),
        "verdict": topology["verdict"],
        "nodes": len(topology["nodes"]),
        "gpus": len(topology["gpus"]),
        "measurements": [_measured(results, name) for name in WHICH if results.path(f"numa/{name}/summary.json")],
        "agree": int((counts["claimed"] == counts["cells"]).sum()),
        "said": int(counts["claimed"].notna().sum()),
        "unharmed": int((eager["penalty_percent"] < UNHARMED_PERCENT).sum()),
        "forecasts": len(eager),
        "claimed": len(CLAIMED_PENALTIES),
        "possible": {"pinned": 0, "pageable": 0} | possible(predicted),
        "counts": shown(counts, COUNTS, "study place claimed listed cells rejected runs"),
        "predicted": shown(
            plain,
            PREDICTED,
            "model memory penalty_percent low_percent high_percent host compiled local_per_s bound_remote "
            "compute_ms launch_ms h2d_local_ms h2d_remote_ms" + SOURCES,
        ),
        "against": shown(
            results.table("numa/record/against.csv", AGAINST),
            AGAINST,
            "gpu cpu_node memory_node model dtype compiled bound predicted_per_s measured_per_s ape_percent "
            "predicted_penalty_percent measured_penalty_percent" + SOURCES,
        ),
        "figures": of_stage(results, "numa_"),
        "links": results.links(
            {"Forecasts": "numa/predicted.csv"}
            | {name.capitalize(): f"numa/record/{name}.csv" for name in ("runs", "profiles", "comparison")}
        ),
    }


def _measured(results: Results, which: str) -> dict[str, Any]:
    """One measured study: how many runs succeeded, its cells, and its nodes compared."""
    runs = results.table(f"numa/{which}/runs.csv", RUNS)
    compared = [
        row | {"interval": interval(row["low_percent"], row["high_percent"])}
        for row in records(results.table(f"numa/{which}/comparison.csv", COMPARISON))
    ]
    cells = by_cell(runs, results.table(f"numa/{which}/profiles.csv", PROFILES))
    return {
        "id": which,
        "title": WHICH[which],
        "record": results.json(f"numa/{which}/summary.json"),
        "device": next(iter(runs["device_name"].dropna()), "no device"),
        "load": float(runs["load_average"].max()),
        "measured": shown(
            cells,
            RUNS,
            "cell runs ok samples_per_s low high placement overlap_percent busy_percent reason",
            **MEASURED,
        ),
        "compared": shown(
            compared,
            COMPARISON,
            "gpu remote_node factor model dtype n penalty_percent interval verdict reason",
            interval=span("95 % interval", "%", "none"),
        ),
    }
