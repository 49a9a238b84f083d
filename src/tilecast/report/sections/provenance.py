"""Where the numbers come from, and which software made the page."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilecast.report.render import Column
from tilecast.report.results import Results

PACKAGES = (
    "tilecast", "snakemake", "numpy", "scipy", "pandas", "pyarrow", "torch", "matplotlib", "seaborn", "jinja2", "typst",
)  # fmt: skip
PASSPORTS = (
    ("measured", "timed on hardware, by the artifact's authors or by this project; the source column says which"),
    ("predicted", "forecast by a predictor of this project"),
    ("published", "forecast or stated by somebody else, taken as printed"),
    ("assumed", "set by us without a measurement; the place says so"),
)
COLUMNS = (Column("package", "Package"), Column("version", "Version", absent="not installed"))


def context(results: Results) -> dict[str, Any]:
    """Facts about the artifact and the machine (architecture only), passports, and versions of the software."""
    source = results.json("artifact/source.json") or {}
    facts = [(key.replace("_", " "), value) for key, value in source.items() if isinstance(value, str | int)]
    facts.append(("processor of this machine", platform.machine()))
    facts.append(("measured on this machine", "nothing yet"))
    versions = [{"package": "python", "version": platform.python_version()}]
    for package in PACKAGES:
        try:
            found: str | None = version(package)
        except PackageNotFoundError:
            found = None
        versions.append({"package": package, "version": found})
    return {"facts": facts, "passports": PASSPORTS, "columns": COLUMNS, "versions": versions}
