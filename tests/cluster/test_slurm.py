"""The workflow on a real SLURM: the slurm profile as it is, on a cluster of one node."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm
from copies import Copy, Run
from plugins import with_plugins
from smoke import arguments, begin, smoke, wait_for

REASON = slurm.reason_not_to()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

# Nothing but waiting is shortened: the node is this machine, and it has two cores.
HERE = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]


def on_slurm(*further: str) -> list[str]:
    return arguments(*HERE, "--latency-wait", "5", *further, profile="slurm")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with slurm.cluster() as logs:
        yield logs


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Copy:
    """A folder to run in, with the cluster up and the plugins at hand."""
    return smoke(tmp_path, **with_plugins())


def submitted(run: Run) -> int:
    return len(re.findall(r"submitted with SLURM jobid", run.output))


def test_the_smoke_workflow_gives_the_same_bytes_as_here(copy: Copy, undisturbed: tuple[Copy, Run]) -> None:
    run = copy.snakemake(*on_slurm())
    assert copy.results() == undisturbed[0].results()
    print(f"{submitted(run)} submissions for 7 jobs, {run.seconds:.0f} s; SLURM says:", *slurm.jobs(), sep="\n  ")
    assert 1 <= submitted(run) < 7  # small jobs share a submission
    assert all("COMPLETED" in job for job in slurm.jobs())


def test_gpus_are_handed_out_and_a_failing_job_is_reported_beside_them(copy: Copy) -> None:
    gpus = ["results/gpu_1.txt", "results/gpu_2.txt"]
    run = copy.snakemake(*on_slurm("results/broken.txt", *gpus, "--keep-going"), fails=True)
    devices = {(copy.root / file).read_text().strip() for file in gpus}
    assert devices <= {"0", "1"}
    assert devices
    assert "Error in rule broken" in run.output
    assert "status is: 'FAILED'" in run.output
    assert not (copy.root / "results/broken.txt").exists()
    assert any("FAILED" in job for job in slurm.jobs())


def test_a_cancelled_job_is_reported_and_the_next_run_goes_on(copy: Copy) -> None:
    first = begin(copy, *on_slurm("results/patient.txt"))
    wait_for(lambda: "RUNNING" in slurm.command("squeue", "--noheader", "--format=%T"))
    subprocess.run(["scancel", "--partition=debug"], check=True)
    output, _ = first.communicate(timeout=60)
    assert first.returncode != 0
    assert "CANCELLED" in output
    assert not (copy.root / "results/patient.txt").exists()
    (copy.root / "go").touch()
    copy.snakemake(*on_slurm("results/patient.txt"))
    assert (copy.root / "results/patient.txt").read_text() == "done\n"
