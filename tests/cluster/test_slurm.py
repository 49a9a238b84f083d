"""The workflow on a real SLURM: the slurm profile as it is, on a cluster of two nodes on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm
from copies import Copy, Run
from plugins import with_plugins
from smoke import arguments, begin, smoke, wait_for

REASON = slurm.reason_not_to()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


# Only waiting is changed: after each look that finds no job at its end, the plugin waits ten seconds longer.
IMPATIENT = """\
import asyncio
sleep = asyncio.sleep
asyncio.sleep = lambda seconds, *further: sleep(min(seconds, 1), *further)
"""


def on_slurm(*further: str) -> list[str]:
    return arguments("--latency-wait", "5", *further, profile="slurm")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The cluster, up: the process of its own that holds it, and the folder with its logs."""
    code = "import slurm, time\nwith slurm.cluster() as logs: print(logs, flush=True), time.sleep(3600)"
    paths = {**os.environ, "PYTHONPATH": str(Path(slurm.__file__).parent)}
    held = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=paths)
    assert held.stdout
    logs = Path(held.stdout.readline().strip() or "none")
    assert logs.is_dir(), "SLURM did not come up; what the daemons said stands above"
    yield held, logs
    held.kill()
    held.wait()
    wait_for(lambda: not logs.exists(), seconds=60)


@pytest.fixture
def copy(cluster: object, tmp_path: Path) -> Copy:
    """A folder to run in, with the cluster up and the plugins at hand."""
    plugins = with_plugins()["PYTHONPATH"]
    (tmp_path / "impatient").mkdir()
    (tmp_path / "impatient/sitecustomize.py").write_text(IMPATIENT)
    return smoke(tmp_path, PYTHONPATH=f"{tmp_path / 'impatient'}{os.pathsep}{plugins}")


def submitted(run: Run) -> int:
    return len(re.findall(r"submitted with SLURM jobid", run.output))


def test_the_smoke_workflow_gives_the_same_bytes_gpus_are_handed_out_and_a_failing_job_is_reported(
    copy: Copy, undisturbed: tuple[Copy, float]
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


def begun(copy: Copy, *further: str) -> tuple[subprocess.Popen[str], str, str]:
    """A run whose job `patient` is at work: (the run, the job's number, its node)."""
    run = begin(copy, *on_slurm("results/patient.txt", *further))
    wait_for(lambda: "RUNNING" in slurm.command("squeue", "--noheader", "--format=%T"))
    job, node = slurm.command("squeue", "--noheader", "--states=running", "--format=%i %N").split()
    return run, job, node


def finished(copy: Copy, run: subprocess.Popen[str]) -> str:
    """Let `patient` end, and its run with it; what the run said."""
    (copy.root / "go").touch()
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert (copy.root / "results/patient.txt").read_text() == "done\n"
    return output


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True, capture_output=True)


def test_a_node_drained_in_mid_job_finishes_it_and_gets_no_other(copy: Copy) -> None:
    run, _, node = begun(copy)
    scontrol("update", f"nodename={node}", "state=drain", "reason=test")
    try:
        other = slurm.command("srun", "printenv", "SLURMD_NODENAME").strip()
        assert {node, other} == set(slurm.NODES)
        finished(copy, run)
        wait_for(lambda: slurm.command("sinfo", "--noheader", "--nodes", node, "--format=%T").strip() == "drained")
    finally:
        scontrol("update", f"nodename={node}", "state=resume")


@pytest.mark.parametrize("how", ["requeue", pytest.param("node fails", marks=pytest.mark.exhaustive)])
def test_a_job_that_is_queued_again_is_waited_for(how: str, copy: Copy) -> None:
    run, job, node = begun(copy)
    if how == "requeue":
        scontrol("requeue", job)
    else:
        scontrol("update", f"nodename={node}", "state=down", "reason=test")
    wait_for(lambda: "PENDING" in slurm.command("squeue", "--noheader", "--format=%T"))
    time.sleep(3)  # a node takes no job again within the second in which it ended it ("credential revoked")

    def runs() -> bool:  # SLURM itself waits two minutes, anew when the node is heard to have ended the job
        subprocess.run(["scontrol", "update", f"jobid={job}", "StartTime=now"], capture_output=True)
        return "RUNNING" in slurm.command("squeue", "--noheader", "--format=%T")

    wait_for(runs)
    assert slurm.command("squeue", "--noheader", "--format=%i").split() == [job]
    finished(copy, run)


def test_a_job_that_takes_more_memory_than_it_asked_for_is_reported(copy: Copy) -> None:
    """Without cgroups SLURM looks every second, and calls it FAILED."""
    run = copy.snakemake(*on_slurm("results/greedy.txt"), fails=True)
    assert "Error in rule greedy" in run.output
    assert "status is: 'FAILED'" in run.output
    assert not (copy.root / "results/greedy.txt").exists()


@pytest.mark.exhaustive  # SLURM counts in minutes
def test_a_job_over_its_time_limit_is_reported(copy: Copy) -> None:
    run, _, _ = begun(copy, "--set-resources", "patient:runtime=1")
    output, _ = run.communicate(timeout=240)
    assert run.returncode != 0
    assert "status is: 'TIMEOUT'" in output
    assert not (copy.root / "results/patient.txt").exists()


def test_a_cluster_is_gone_however_its_test_ends(cluster: tuple[subprocess.Popen[str], Path]) -> None:
    """The last of this file: the process that holds the cluster is killed."""
    held, logs = cluster
    daemons = [int(file.read_text()) for file in logs.glob("*.pid")]
    assert (slurm.CONF / "slurm.conf").exists() and len(daemons) == 4
    held.kill()
    wait_for(lambda: not logs.exists() and not (slurm.CONF / "slurm.conf").exists(), seconds=60)
    assert [pid for pid in daemons if Path(f"/proc/{pid}").exists()] == []
