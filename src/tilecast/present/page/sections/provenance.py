"""Where the numbers come from, what is wrong in the artifact, and which software made the page."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.shown import Shown, shown
from tilecast.tables.declared.artifact import DEFECTS
from tilecast.tables.declared.graphs import DIFFERENCES
from tilecast.tables.schema import size, text

PACKAGES = "tilecast snakemake numpy scipy pandas pyarrow torch matplotlib seaborn jinja2"
SOURCES = (
    ("measured", "timed on hardware, by the artifact's authors or by this project; the source column says which"),
    ("predicted", "forecast by a predictor of this project"),
    ("published", "forecast or stated by somebody else, taken as printed"),
    ("assumed", "set by us without a measurement; the place says so"),
)
SERVED = {
    "mirror": "a local copy of the artifact",
    "git": "the published git repository",
    "published": "figures transcribed from the artifact",
}
EQUAL = "nothing differs"
GRAPH = ["model", "mode", "sequence_length", "batch_size", "option"]


def context(results: Results) -> dict[str, Any]:
    """Facts about the artifact and the machine (architecture only), and versions of the software."""
    source = results.json("artifact/source.json") or {}
    passed = [f"{SERVED.get(one['source'], one['source'])} ({one['reason']})" for one in source["passed_over"]]
    facts = [
        ("Artifact", source["repository"]),
        ("Commit", source["commit"]),
        ("Served by", SERVED.get(source["source"], source["source"])),
        ("Tried before", ", ".join(passed) or "nothing: the first source served"),
        (
            "Verified",
            f"{source['files_verified']:,} of {source['files_in_commit']:,} data files of the commit, each against"
            f" its git blob id; {source['files_absent']:,} are not in the source that served",
        ),
        (
            "End-to-end latencies",
            "measured by the artifact's authors on their GPUs; nothing of it was timed again",
        ),
        ("Measured by this project", "see the section This machine"),
        ("Processor of this machine", platform.machine()),
    ]
    versions = [{"package": "python", "version": platform.python_version()}]
    versions += [{"package": package, "version": _version(package)} for package in PACKAGES.split()]
    columns = {"package": text("x", title="Package"), "version": text("x", title="Version", empty="not installed")}
    return {"facts": facts, "sources": SOURCES, "versions": Shown(columns, versions)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def counts(results: Results) -> dict[str, Any]:
    """How many defects of each kind affect results, with an example of each."""
    frame = results.table("tidy/defects.csv", DEFECTS)
    affecting = frame[frame["severity"] == "affects results"]
    rows = [
        {"kind": kind, "n": len(group), **group.iloc[0][["where", "detail"]]}
        for kind, group in affecting.groupby("kind", sort=False)
    ]
    columns = {"n": size("x", title="n"), "where": replace(DEFECTS.columns["where"], title="The first: where")}
    return {
        "n": len(frame),
        "affecting": len(affecting),
        "table": shown(sorted(rows, key=lambda row: -row["n"]), DEFECTS, "kind n where detail", **columns),
    }


def defects(results: Results) -> dict[str, Any]:
    """What is wrong or missing in the artifact, what affects results first."""
    frame = results.table("tidy/defects.csv", DEFECTS).sort_values("severity", kind="stable")
    affecting = int((frame["severity"] == "affects results").sum())
    return {"table": shown(frame, DEFECTS, "kind where detail severity"), "affecting": affecting}


def graphs(results: Results) -> dict[str, Any]:
    """Where lists of kernels traced here differ from the artifact's, by reason, most frequent first."""
    frame = results.table("graphs/differences.csv", DIFFERENCES)
    differing = frame[frame["what"] != EQUAL]
    rows = [
        {"reason": reason, "differences": len(group), "cells": len(group[GRAPH].drop_duplicates())}
        for reason, group in differing.groupby("reason", dropna=False)
    ]
    counts = {"differences": size("x"), "cells": size("x", title="Graphs")}
    return {
        "graphs": len(frame[GRAPH].drop_duplicates()),
        "differing": len(differing[GRAPH].drop_duplicates()),
        "unexplained": int(differing["reason"].isna().sum()),
        "table": shown(
            sorted(rows, key=lambda row: -row["differences"]), DIFFERENCES, "reason differences cells", **counts
        ),
        "links": results.links("graphs/differences.csv"),
    }
