"""The container images are made of what the project pins."""

from __future__ import annotations

import re

from containerize import containerize
from copies import ROOT


def test_the_image_of_conda_environments_is_what_snakemake_writes() -> None:
    """`make envs/Dockerfile` renews it."""
    assert (ROOT / "envs/Dockerfile").read_text() == containerize()


def test_the_image_for_pods_installs_what_is_locked() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for name in re.findall(r"/opt/(requirements/[\w.-]+)", text):
        assert (ROOT / name).is_file()
    pins = [
        line
        for name in ("lock.txt", "cluster.txt", "cluster-test.txt")
        for line in (ROOT / "requirements" / name).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    names = [re.split("==", line)[0].lower().replace("_", "-") for line in pins]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in pins), "every version is pinned"
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"python-dateutil"}, "pinned once, but for this one"
