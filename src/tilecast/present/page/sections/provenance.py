"""Where the numbers come from, and which software made the page."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results

PACKAGES = (
    "tilecast",
    "snakemake",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "torch",
    "matplotlib",
    "seaborn",
    "jinja2",
)
PASSPORTS = (
    ("measured", "timed on hardware, by the artifact's authors or by this project; the source column says which"),
    ("predicted", "forecast by a predictor of this project"),
    ("published", "forecast or stated by somebody else, taken as printed"),
    ("assumed", "set by us without a measurement; the place says so"),
)
COLUMNS = (Column("package", "Package"), Column("version", "Version", absent="not installed"))
SERVED = {
    "mirror": "a local copy of the artifact",
    "git": "the published git repository",
    "published": "figures transcribed from the artifact",
}


def context(results: Results) -> dict[str, Any]:
    """Facts about the artifact and the machine (architecture only), passports, and versions of the software."""
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
    versions += [{"package": package, "version": _version(package)} for package in PACKAGES]
    return {"facts": facts, "passports": PASSPORTS, "columns": COLUMNS, "versions": versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
