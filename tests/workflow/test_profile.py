"""The plain command runs with the settings of profiles/default, which Snakemake finds by itself."""

from __future__ import annotations

import base64
import re

import pytest
from copies import Copy, copy_tree

TARGET = "results/tidy/labels.csv"
USED = "Using workflow specific profile {} for setting default command line arguments."


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return copy_tree(tmp_path_factory.mktemp("profile") / "tree")


def test_the_plain_command_uses_the_default_profile(tree: Copy) -> None:
    """It says so, caps the GPU, and runs an interrupted step again instead of asking."""
    run = tree.snakemake(TARGET)
    assert USED.format("profiles/default") in run.output
    assert re.search(r"^Provided resources: gpu\D+1\D*$", run.output, re.MULTILINE)
    begun = tree.root / ".snakemake/incomplete" / base64.b64encode(TARGET.encode()).decode()
    begun.touch()  # how Snakemake marks what a step has begun to write
    assert tree.would_run(TARGET) == {"tidy_labels"}
    assert (
        "IncompleteFilesException" in tree.snakemake("-n", TARGET, "--workflow-profile", "none", fails=True).output
    )
    begun.unlink()


def test_a_named_profile_takes_its_place(tree: Copy) -> None:
    named = tree.root / "profiles/own"
    named.mkdir()
    (named / "config.yaml").write_text("quiet: [rules]\n")
    run = tree.snakemake("--forcerun", "tidy_labels", "--workflow-profile", "profiles/own", TARGET)
    assert USED.format("profiles/own") in run.output
    assert "profiles/default" not in run.output and "Provided resources" not in run.output
