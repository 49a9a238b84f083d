"""Another workflow imports this one: from a clone (as tests/support/smoke.smk does), or from a hosted one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from copies import ROOT, Copy, copy_tree
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


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This tree as version v1 of a hosted repository: the variables under which git finds it here."""
    tree = copy_tree(tmp_path_factory.mktemp("hosted") / "tree")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    commit = [*identity, "commit", "--quiet", "--message", "files"]
    for command in (["init", "--quiet"], ["add", "."], commit, ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=tree.root, check=True)
    instead = {"KEY_0": f"url.{tree.root.as_uri()}.insteadOf", "VALUE_0": "https://github.com/owner/tilecast"}
    return {f"GIT_CONFIG_{name}": value for name, value in (instead | {"COUNT": "1"}).items()}


def test_a_module_from_a_hosted_repository_brings_its_library(
    hosted: dict[str, str], undisturbed: tuple[Copy, float], tmp_path: Path
) -> None:
    importing = smoke(tmp_path / "importing", XDG_CACHE_HOME=str(tmp_path / "cache"), **hosted)
    (importing.root / "workflow").mkdir(parents=True)
    (importing.root / "workflow/Snakefile").write_text(IMPORT)
    importing.snakemake("results/tidy/labels.csv", "results/tidy/devices.csv")
    assert importing.results() == undisturbed[0].results("artifact", "tidy")


@pytest.mark.skipif(shutil.which("snakedeploy") is None, reason="snakedeploy is not installed")
def test_what_snakedeploy_writes_runs(
    hosted: dict[str, str], undisturbed: tuple[Copy, float], tmp_path: Path
) -> None:
    """The deployed configuration is a copy of ours, to be edited; here its sources are."""
    words = ["snakedeploy", "deploy-workflow", "https://github.com/owner/tilecast", str(tmp_path / "deployed")]
    done = subprocess.run(
        [*words, "--tag", "v1"], env={**os.environ, **hosted}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    deployed = smoke(tmp_path / "deployed", XDG_CACHE_HOME=str(tmp_path / "cache"), **hosted)
    config = deployed.root / "config/config.yaml"
    config.write_text(re.sub(r"sources: \[.*\]", "sources: [published]", config.read_text()))
    deployed.snakemake("results/tidy/labels.csv", "results/tidy/devices.csv")
    assert deployed.results() == undisturbed[0].results("artifact", "tidy")


def test_the_catalogs_metadata_names_what_the_catalog_knows() -> None:
    about = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert set(about) == {"usage"}
    assert set(about["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert about["usage"]["software-stack-deployment"]["conda"] is True
