"""Figures with their captions, alternative texts and data."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.results import Results, data_uri
from tilecast.present.page.sections.points import points

PICTURE_BYTES = 500_000  # a drawing with more points than this is shown as its PNG
MAIN = "predicted_vs_measured"  # the one of the evaluation
STAGES = ("modern_", "measure_", "parallel_", "moe_", "numa_")  # figures that stand in their stage's own section


def context(results: Results) -> dict[str, Any]:
    """Every declared figure; one without data says which of the artifact's files it needs."""
    names = results.names("figures", ".json")
    return {"figures": [figure(results, name) for name in names if not name.startswith((*STAGES, MAIN))]}


def of_stage(results: Results, prefix: str) -> list[dict[str, Any]]:
    """The declared figures whose names start with `prefix`, for the section of that stage."""
    return [figure(results, name) for name in results.names("figures", ".json") if name.startswith(prefix)]


def figure(results: Results, name: str) -> dict[str, Any]:
    """What the template needs to show one declared figure."""
    stem = f"figures/{name}"
    data = results.path(f"{stem}.csv")
    about = results.json(f"{stem}.json") or {}
    drawn, raster = results.path(f"{stem}.svg"), results.path(f"{stem}.png")
    if drawn is not None and raster is not None and drawn.stat().st_size > PICTURE_BYTES:
        drawn = raster
    return {
        "name": name,
        "title": about["title"],
        "caption": about["caption"],
        "alt": about["alt"],
        "reason": about.get("reason", "this run's data hold nothing to draw"),
        "image": None if drawn is None or about["n"] == 0 else data_uri(drawn),
        "pdf": f"../{stem}.pdf",
        "views": [] if data is None else [points(data, view) for view in about.get("views", ())],
        "links": results.links({"Data": f"{stem}.csv", "PDF": f"{stem}.pdf", "PNG": f"{stem}.png"}),
    }
