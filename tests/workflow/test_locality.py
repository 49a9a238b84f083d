"""A locality study through the workflow: run, gone on with, started afresh; what the default run says of it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from copies import Copy
from smoke import begin, wait_for

from tilecast.locality.topology import read_topology

pytestmark = pytest.mark.slow

TARGET = "results/numa/quick_test"
SMALL = "numa={repetitions: 1, samples: 5, warmup: 5, models: [vit0x0x0], device: cpu, nodes: [0, 63]}"
CELL = "pipeline_gpu0_numa0_vit0x0x0"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_study_runs_goes_on_and_starts_afresh(workflow_copy: Copy) -> None:
    workflow_copy.snakemake(TARGET, "--config", SMALL)
    folder = workflow_copy.root / TARGET
    kept = workflow_copy.root / "results/measured/numa/quick_test/runs" / f"{CELL}_r1.json"
    assert [row["cell"] for row in rows(folder / "manifest.csv")].count(CELL) == 1
    found = {row["cell"]: row for row in rows(folder / "runs.csv")}
    assert found[CELL]["status"] == "ok" and float(found[CELL]["samples_per_s"]) > 0
    elsewhere = found["pipeline_gpu0_numa63_vit0x0x0"]
    assert elsewhere["status"] == "not testable here" and "node 63 does not exist here" in elsewhere["reason"]
    said = json.loads((folder / "experiment_summary.json").read_text())
    assert (said["runs"], said["success_rate_percent"], said["success_rate_of_testable_percent"]) == (2, 50, 100)
    assert (folder / "nsys_reports" / f"{CELL}.json").is_file()

    first = kept.read_bytes()
    (kept.parent / f"{CELL}_r2.json").write_text("{")  # left behind by something that died while writing
    run = workflow_copy.snakemake(TARGET, "--config", SMALL.replace("repetitions: 1", "repetitions: 2"))
    assert run.rules == {"locality_study"} and kept.read_bytes() == first
    assert [row["status"] for row in rows(folder / "runs.csv") if row["cell"] == CELL] == ["ok", "ok"]

    workflow_copy.snakemake(TARGET, "--forcerun", "locality_study", "--config", SMALL)
    assert kept.read_bytes() != first
    assert sorted(path.name for path in kept.parent.iterdir() if CELL in path.name) == [kept.name]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("numa={models: [resnet]}", "resnet: does not parse; expected vit"),
        ("numa={study: nowhere.yaml}", "nowhere.yaml: does not exist"),
    ],
)
def test_a_study_that_cannot_be_ends_the_run_before_it_begins(value: str, words: str, workflow_copy: Copy) -> None:
    run = workflow_copy.snakemake("--dry-run", TARGET, "--config", value, fails=True)
    assert words in run.output and "Traceback" not in run.output


def test_a_study_of_ones_own_is_run_by_its_name(workflow_copy: Copy) -> None:
    (workflow_copy.root / "mine.yaml").write_text("title: mine\ngpus: [0]\nnodes: [0]\nmodels: [vit0x0x0]\n")
    run = workflow_copy.snakemake("--dry-run", "results/numa/mine", "--config", "numa={study: mine.yaml}")
    assert run.rules == {"locality_study"}


def test_the_default_run_plans_forecasts_and_shows_the_record(finished: Copy) -> None:
    folder = finished.root / "results/numa"
    sizes = {path.stem: len(rows(path)) for path in folder.glob("manifests/*.csv")}
    assert (sizes["numa_study"], sizes["quick_test"], sizes["comprehensive"]) == (240, 15, 480)
    counted = {(row["study"], row["place"]): row["cells"] for row in rows(folder / "counts.csv")}
    assert counted["scaling_study", "section 3"] == "8"
    assert len(rows(folder / "record/runs.csv")) == 15
    verdicts = {row["id"]: row["verdict"] for row in rows(finished.root / "results/evaluation/claims.csv")}
    assert verdicts["numa-count-study"] == "reproduced"
    assert verdicts["numa-count-scaling-section"] == "contradicted"
    assert verdicts["numa-penalty-memory"] == verdicts["numa-success"] == "not testable here"  # its record: no GPU
    page = (finished.root / "results/report/studies.html").read_text(encoding="utf-8")
    topology = json.loads((folder / "topology.json").read_text())
    assert f"<strong>{topology['verdict']}</strong>" in page and 'id="numa"' in page
    assert finished.would_run(TARGET) == {"locality_study"}


def test_replayed_the_topology_is_the_records_and_measured_it_is_this_hosts(workflow_copy: Copy) -> None:
    """Two runs that only replay make the same file on any machine."""
    path = workflow_copy.root / "results/numa/topology.json"
    record = json.loads((workflow_copy.root / "resources/measured/numa/quick_test.json").read_text())
    workflow_copy.snakemake(str(path.relative_to(workflow_copy.root)), "--force")
    assert json.loads(path.read_text()) == {"host": "the host of the record"} | record["topology"]
    workflow_copy.snakemake("results/numa/topology.json", "--config", "measure={mode: measure}")
    assert json.loads(path.read_text()) == {"host": "this host"} | read_topology()


def test_after_the_default_run_the_command_of_the_guide_measures_and_goes_on(workflow_copy: Copy) -> None:
    """`snakemake --cores all results/numa/<study>` as typed: killed in the middle, gone on with, replayed."""
    root = workflow_copy.root
    (root / "mine.yaml").write_text(
        "title: mine\ngpus: [0]\nnodes: [0]\nmodels: [vit0x0x0]\nsamples: 5\nwarmup: 5\nrepetitions: 3\n"
    )
    config = root / "config/config.yaml"
    config.write_text(config.read_text().replace("study: quick_test", "study: mine.yaml"))
    workflow_copy.snakemake("locality_manifests", "locality_topology")  # what the default run plans of this
    assert len(rows(root / "results/numa/manifests/mine.csv")) == 3
    command = ("--cores", "all", "results/numa/mine")
    kept = root / "results/measured/numa/mine/runs"
    run = begin(workflow_copy, *command)
    wait_for(lambda: any(kept.glob("[!.]*.json")))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    first = {path: path.read_bytes() for path in kept.glob("[!.]*.json")}
    assert len(first) < 3
    output, code = completed(workflow_copy, command)
    assert code == 0, output
    assert len(rows(root / "results/numa/mine/runs.csv")) == len(list(kept.glob("[!.]*.json"))) == 3
    assert all(path.read_bytes() == data for path, data in first.items())
    assert "Nothing to be done" in completed(workflow_copy, command)[0]
    made = {path: path.read_bytes() for path in kept.glob("[!.]*.json")}
    shutil.rmtree(root / "results/numa/mine")
    completed(workflow_copy, command)
    assert (root / "results/numa/mine/runs.csv").is_file()
    assert {path: path.read_bytes() for path in kept.glob("[!.]*.json")} == made


def completed(copy: Copy, command: tuple[str, ...]) -> tuple[str, int]:
    """What snakemake says to a command as typed, and its exit code."""
    run = begin(copy, *command)
    return run.communicate()[0], run.returncode
