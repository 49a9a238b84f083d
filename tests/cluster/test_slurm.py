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


def on_slurm(*further: str, look_after: int = 8) -> list[str]:
    """Only waiting is changed: after a look that finds no job at its end, the plugin waits ten seconds longer."""
    looks = ["--slurm-init-seconds-before-status-checks", str(look_after)]
    looks += ["--seconds-between-status-checks", str(look_after)]
    return arguments(*looks, "--latency-wait", "5", *further, profile="slurm")


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


def test_the_smoke_workflow_gives_the_same_bytes_gpus_are_handed_out_and_a_failing_job_is_reported(
    copy: Copy, undisturbed: tuple[Copy, Run]
) -> None:
    gpus = ["results/gpu_1.txt", "results/gpu_2.txt"]
    run = copy.snakemake("smoke", "results/broken.txt", *gpus, *on_slurm("--keep-going"), fails=True)
    known = slurm.jobs()
    print(f"{submitted(run)} submissions for 10 jobs, {run.seconds:.0f} s; SLURM says:", *known, sep="\n  ")
    assert submitted(run) < 10  # small jobs share a submission
    made = copy.results()
    devices = {made.pop(file.removeprefix("results/")).decode().strip() for file in gpus}
    assert devices
    assert devices <= {"0", "1"}
    assert made == undisturbed[0].results()  # and results/broken.txt, half written, is gone
    assert "Error in rule broken" in run.output
    assert "status is: 'FAILED'" in run.output
    assert [job.split()[2] for job in known].count("FAILED") == 1
    assert [job.split()[2] for job in known].count("COMPLETED") == submitted(run) - 1


def test_a_cancelled_job_is_reported_and_the_next_run_goes_on(copy: Copy) -> None:
    first = begin(copy, *on_slurm("results/patient.txt", look_after=1))
    wait_for(lambda: "RUNNING" in slurm.command("squeue", "--noheader", "--format=%T"))
    subprocess.run(["scancel", "--partition=debug"], check=True)
    output, _ = first.communicate(timeout=60)
    assert first.returncode != 0
    assert "CANCELLED" in output
    assert not (copy.root / "results/patient.txt").exists()
    (copy.root / "go").touch()
    copy.snakemake(*on_slurm("results/patient.txt", look_after=1))
    assert (copy.root / "results/patient.txt").read_text() == "done\n"
