"""The container images are made of what the project pins."""

from __future__ import annotations

import re

import lock
import pytest
from containerize import containerize
from copies import ROOT


def test_the_image_of_conda_environments_is_what_snakemake_writes() -> None:
    """`make envs/Dockerfile` renews it."""
    assert (ROOT / "envs/Dockerfile").read_text() == containerize()


@pytest.mark.parametrize("name", ["Dockerfile", "envs/Dockerfile"])
def test_an_image_stands_on_a_digest_and_runs_as_no_root(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    argument = lines[0].removeprefix("ARG ")
    assert lines[:2] == [f"ARG {argument}", f"FROM ${argument}"], "no default: a tag may move, a digest grows old"
    assert sum(line.startswith("FROM ") for line in lines) == 1
    assert lines[-2:] == ["RUN useradd --create-home tilecast", "USER tilecast"]


def test_the_image_for_pods_installs_what_is_locked() -> None:
    text = (ROOT / "Dockerfile").read_text()
    files = set(re.findall(r"/opt/(requirements/[\w.-]+)", text))
    assert files == {f"requirements/{name}.txt" for name in ("lock", "cluster", "torch")}
    assert 'LOCKED="--no-cache-dir --require-hashes --no-deps --only-binary :all:"' in text
    for command in re.findall(r"pip (?:install|download) (.*)", text):
        assert command.startswith("$LOCKED ") != ("torch.txt" in command), "checked by hash, all but torch"
    pinned = [lock.read(lock.FOLDER / file) for file in ("lock.txt", "cluster.txt", "cluster-test.txt")]
    names = [name for pins in pinned for name in pins]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"python-dateutil"}, "pinned once, but for this one"
