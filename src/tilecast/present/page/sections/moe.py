"""Experts on several GPUs: the study in three readings, its own arithmetic, what the model is worth."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.sections import claims, figures
from tilecast.present.page.shown import shown
from tilecast.tables.declared import moe as declared
from tilecast.tables.declared.claims import CLAIMS

SYSTEMS = "moe/data/all_systems_comparison.csv"
NEEDS = (SYSTEMS, *(f"moe/{name}.csv" for name in ("alltoall_errors", "anchors", "models", "gains", "layouts")))
OWN = "guide-moe-own-"  # claims that hold the guide's figures against each other
TABLES = {
    "models": (
        "moe/models.csv",
        declared.MODELS,
        "model system strategy verdict resident_percent baseline_tokens_per_s speedup "
        "communicated_bytes_per_token",
    ),
    "errors": (
        "moe/alltoall_errors.csv",
        declared.ALLTOALL_ERRORS,
        "links kernel sizes n mape_percent worst_percent",
    ),
    "anchors": (
        "moe/anchors.csv",
        declared.ANCHORS,
        "model method batch judged measured_ms forecast_ms factor difference fastest_ms slowest_ms source",
    ),
    "gains": ("moe/gains.csv", declared.GAINS, "what gain model_gain prefetching_low prefetching_high source"),
    "overlap": (
        "moe/overlap_recorded.csv",
        declared.OVERLAP,
        "device load_average copied_bytes compute_ms copy_ms both_ms exposed_ms formula_exposed_ms",
    ),
}


def context(results: Results) -> dict[str, Any]:
    """Systems in three readings, the study's own arithmetic, real models, comparisons with measurements."""
    systems = results.table(SYSTEMS, declared.SYSTEMS)
    physical = systems[systems["mode"] == "physical"]
    anchors = results.table("moe/anchors.csv", declared.ANCHORS)
    judged = anchors[anchors["judged"]]
    own = [claim for claim in claims.audited(results) if claim["id"].startswith(OWN)]
    return {
        "systems": shown(
            systems,
            declared.SYSTEMS,
            "mode system strategy spread verdict baseline_tokens_per_s prophet_tokens_per_s speedup speedup_low "
            "speedup_high hit_percent prophet_hit_percent "
            "baseline_communication_percent baseline_waiting_percent baseline_usd_per_million_tokens "
            "prophet_usd_per_million_tokens reason",
        ),
        "resident": int((physical["verdict"] == "resident").sum()),
        "impossible": int((physical["verdict"] == "impossible").sum()),
        "strategies": len(physical),
        "gaining": int((physical["speedup"] > 1.005).sum()),
        "judged": len(judged),
        "near": int((judged["factor"] <= 2).sum()),
        "most": systems.groupby("mode")["speedup"].max().to_dict(),
        "own": shown(own, CLAIMS, "quote claimed reproduced verdict explanation"),
        **{
            name: shown(results.table(file, table), table, columns)
            for name, (file, table, columns) in TABLES.items()
        },
        "figures": figures.of_stage(results, "moe_"),
        "links": results.links(
            {"Systems": SYSTEMS, "Every layout": "moe/layouts.csv", "All-to-all": "moe/alltoall.csv"}
        ),
    }
