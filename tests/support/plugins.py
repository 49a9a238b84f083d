"""Plugins for clusters, kept out of the environment: every start of snakemake would import them."""

from __future__ import annotations

import pytest
from copies import ROOT

FOLDER = ROOT / "build/cluster"


def with_plugins() -> dict[str, str]:
    """The environment variable under which Snakemake finds them; the test is skipped where they are missing."""
    if not (FOLDER / "snakemake_executor_plugin_slurm").is_dir():
        pytest.skip("`make cluster` has not been run")
    return {"PYTHONPATH": str(FOLDER)}
