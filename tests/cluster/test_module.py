"""Another workflow imports this one: from a clone (tests/smoke.smk is that), or from a repository on a host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from copies import ROOT, Copy, Run, copy_tree
from smoke import smoke

pytestmark = pytest.mark.slow

# As snakedeploy writes it, but for the configuration, which it copies.
IMPORT = """\
module tilecast:
    snakefile:
        github("owner/tilecast", path="Snakefile", tag="v1")
    config:
        {"artifact": {"sources": ["published"]}, "graphs": {"cells": []}}


use rule * from tilecast
"""


def test_a_module_from_a_hosted_repository_brings_its_library(
    undisturbed: tuple[Copy, Run], tmp_path: Path
) -> None:
    """The repository is in Snakemake's cache, as after a first use: no network is asked."""
    tree = copy_tree(tmp_path / "tree")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    hosted = tmp_path / "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/owner/tilecast"
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        [*identity, "commit", "--quiet", "--message", "files"],
        ["tag", "v1"],
        ["clone", "--quiet", "--bare", ".", str(hosted)],
    ):
        subprocess.run(["git", *command], cwd=tree.root, check=True)
    importing = smoke(tmp_path / "importing", XDG_CACHE_HOME=str(tmp_path / "cache"))
    (importing.root / "workflow").mkdir(parents=True)
    (importing.root / "workflow/Snakefile").write_text(IMPORT)
    importing.snakemake("results/tidy/labels.csv")
    assert importing.results() == undisturbed[0].results("artifact", "tidy")


def test_the_catalogs_metadata_names_what_the_catalog_knows() -> None:
    about = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert set(about) == {"usage"}
    assert set(about["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert about["usage"]["software-stack-deployment"]["conda"] is True
