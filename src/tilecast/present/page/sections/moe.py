"""Experts on several GPUs: the study in both readings, its own arithmetic, what the model is worth."""

from __future__ import annotations

from typing import Any

from tilecast.moe.names import STRATEGIES
from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.present.page.sections import claims, figures
from tilecast.tables.declared.moe import SYSTEMS as SYSTEMS_TABLE

SYSTEMS = "moe/data/all_systems_comparison.csv"
NEEDS = (
    SYSTEMS,
    "moe/alltoall_errors.csv",
    "moe/anchors.csv",
    "moe/models.csv",
    "moe/gains.csv",
    "moe/layouts.csv",
)
OWN = "guide-moe-own-"  # claims that hold the guide's figures against each other
MODES = {"as_published": "as published", "physical": "physical"}
COLUMNS = (
    Column("mode", "Reading"),
    Column("system", "System"),
    Column("strategy", "Strategy"),
    Column("spread", "GPUs as"),
    Column("verdict", "Experts"),
    Column("baseline_tokens_per_s", "Baseline", "tok/s", 1, "cannot run"),
    Column("prophet_tokens_per_s", "Prophet", "tok/s", 1, "cannot run"),
    Column("speedup", "Speedup", "×", 2, "cannot run"),
    Column("baseline_communication_percent", "Between GPUs", "%", 1, "none"),
    Column("baseline_waiting_percent", "Waiting for host", "%", 1, "not modelled"),
    Column("baseline_usd_per_million_tokens", "Baseline", "$/1M", 2, "cannot run"),
    Column("prophet_usd_per_million_tokens", "Prophet", "$/1M", 2, "cannot run"),
    Column("reason", "Why", prose=True),
)
OWN_COLUMNS = (
    Column("quote", "As stated", prose=True),
    Column("claimed", "Claimed", right=True),
    Column("reproduced", "Follows", right=True, absent="nothing"),
    Column("verdict", "Verdict"),
    Column("explanation", "Arithmetic", prose=True),
)
MODEL_COLUMNS = (
    Column("model", "Model"),
    Column("system", "System"),
    Column("strategy", "Strategy"),
    Column("verdict", "Experts"),
    Column("resident_percent", "Resident", "%", 0),
    Column("baseline_tokens_per_s", "Baseline", "tok/s", 1, "cannot run"),
    Column("speedup", "Speedup", "×", 2, "cannot run"),
    Column("kilobytes", "Sent a token", "kB", 0, "cannot run"),
)
ERROR_COLUMNS = (
    Column("links", "Over"),
    Column("kernel", "Kernels"),
    Column("sizes", "Sizes"),
    Column("n", "n", digits=0),
    Column("mape_percent", "MAPE", "%", 1),
    Column("worst_percent", "Worst", "%", 1),
)
ANCHOR_COLUMNS = (
    Column("source", "Source", prose=True),
    Column("model", "Model"),
    Column("method", "Method"),
    Column("measured_ms", "Published", "ms", 0),
    Column("fastest_ms", "Fastest", "ms", 1),
    Column("slowest_ms", "Slowest", "ms", 1),
    Column("measured_over_model", "Beyond", "×", 2),
)
GAIN_COLUMNS = (
    Column("source", "Source", prose=True),
    Column("what", "Of"),
    Column("gain", "Gain", "×", 2),
    Column("within", "Overlap alone can give it"),
)
OVERLAP_COLUMNS = (
    Column("device", "Device"),
    Column("load_average", "Load", digits=1),
    Column("copied_bytes", "Copied", "bytes", 0),
    Column("compute_ms", "Product alone", "ms", 2),
    Column("copy_ms", "Copy alone", "ms", 2),
    Column("both_ms", "Both at once", "ms", 2),
    Column("exposed_ms", "Exposed", "ms", 2),
    Column("formula_exposed_ms", "By the formula", "ms", 2),
)


def context(results: Results) -> dict[str, Any]:
    """Systems in both readings, the study's own arithmetic, real models, comparisons with measurements."""
    table = results.table(SYSTEMS, SYSTEMS_TABLE)
    assert table is not None
    rows = [
        {str(key): value for key, value in row.items()}
        | {"mode": MODES[row["mode"]], "strategy": STRATEGIES[row["strategy"]]}
        for row in table.to_dict("records")
    ]
    physical = table[table["mode"] == "physical"]
    models = _free(results, "moe/models.csv", ("model", "communicated_bytes_per_token"))
    gains = _free(results, "moe/gains.csv", ("gain", "overlap_alone_can_give_it"))
    audited = [] if results.path("evaluation/claims.csv") is None else claims.records(results)
    return {
        "rows": rows,
        "columns": COLUMNS,
        "resident": int((physical["verdict"] == "resident").sum()),
        "impossible": int((physical["verdict"] == "impossible").sum()),
        "strategies": len(physical),
        "most": {mode: float(table[table["mode"] == mode]["speedup"].max()) for mode in MODES},
        "own": [claim for claim in audited if claim["id"].startswith(OWN)],
        "own_columns": OWN_COLUMNS,
        "models": [
            row | {"strategy": STRATEGIES[row["strategy"]], "kilobytes": row["communicated_bytes_per_token"] / 1e3}
            for row in models
        ],
        "model_columns": MODEL_COLUMNS,
        "errors": _free(results, "moe/alltoall_errors.csv", ("links", "mape_percent")),
        "error_columns": ERROR_COLUMNS,
        "anchors": _free(results, "moe/anchors.csv", ("measured_ms", "measured_over_model")),
        "anchor_columns": ANCHOR_COLUMNS,
        "gains": [row | {"within": "yes" if row["overlap_alone_can_give_it"] else "no"} for row in gains],
        "gain_columns": GAIN_COLUMNS,
        "overlap": _free(results, "moe/overlap_recorded.csv", ("exposed_ms", "formula_exposed_ms")),
        "overlap_columns": OVERLAP_COLUMNS,
        "figures": figures.of_stage(results, "moe_"),
        "links": [
            link
            for folder, name, words in (
                ("moe/data", "all_systems_comparison", "Systems"),
                ("moe", "layouts", "Every layout"),
                ("moe", "alltoall", "All-to-all"),
            )
            for link in results.links(folder, name, (".csv",), words)
        ],
    }


def _free(results: Results, name: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    frame = results.free(name, columns)
    return (
        []
        if frame is None
        else [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    )
