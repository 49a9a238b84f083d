"""Results in a bucket, jobs in pods: a real S3 server and a stand-in for Kubernetes that runs what it is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import ROOT, Copy, copy_tree
from plugins import FOLDER, with_plugins
from servers import KEYS, Bucket, bucket, kubernetes
from smoke import arguments, smoke

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with_plugins()  # or skip
    with bucket(str(FOLDER)) as server:
        yield server


def test_with_results_in_a_bucket_nothing_is_kept_here_and_the_bytes_are_the_same(
    s3: Bucket, undisturbed: tuple[Copy, float], tmp_path: Path
) -> None:
    copy = smoke(tmp_path, **with_plugins(), **KEYS)
    place = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://tilecast/here"]
    copy.snakemake(*arguments("results/figures/amd.svg", *place, "--storage-s3-endpoint-url", s3.url))
    others = ("mape", "fusion")
    assert s3.objects("here/results/") == {
        name: data for name, data in undisturbed[0].results().items() if not any(other in name for other in others)
    }
    assert not any(path.is_file() for path in (tmp_path / "results").rglob("*") if path.parent.name != "logs")


# What travels to the pods is what git tracks; without the trained weights it is packed in a second.
TRACKED = ["Snakefile", "config", "workflow", "src", "report", "tests/support/smoke.smk", "resources/published",
           "resources/artifact.lock.tsv", ":!*.safetensors"]  # fmt: skip


def test_pods_that_share_no_file_system_give_the_same_bytes(
    s3: Bucket, undisturbed: tuple[Copy, float], tmp_path: Path
) -> None:
    """The kubernetes profile as it is, from a git clone: sources, results and keys reach each pod on their own."""
    clone = copy_tree(tmp_path / "clone", **with_plugins(), **KEYS, TILECAST_MIRROR="")
    for command in (["init", "--quiet"], ["add", *TRACKED]):
        subprocess.run(["git", *command], cwd=clone.root, check=True)
    workflow = ["--snakefile", "tests/support/smoke.smk", "--workflow-profile", "profiles/kubernetes"]
    further = ["--jobs", "4", "--seconds-between-status-checks", "1", "--storage-s3-endpoint-url", s3.url]
    with kubernetes(tmp_path / "api", str(FOLDER)) as (api, config):
        clone.snakemake(
            "results/tidy/labels.csv", "results/tidy/devices.csv", *workflow, *further, KUBECONFIG=config
        )
    assert len(api.jobs) == 3
    for job in api.jobs.values():
        assert job["code"] == 0, job["output"]
        for private in (str(ROOT), str(clone.root), *KEYS.values()):
            assert private not in job["command"]
    assert s3.objects("run/results/") == undisturbed[0].results("artifact", "tidy")
    assert not (clone.root / "results/tidy").exists()
