"""A locality study through the workflow: run, gone on with, started afresh; what the default run says of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from copies import Copy

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
    sizes = {path.parent.name: len(rows(path)) for path in folder.glob("*/manifest.csv")}
    assert (sizes["numa_study"], sizes["quick_test"], sizes["comprehensive"]) == (240, 15, 480)
    counted = {(row["study"], row["place"]): row["cells"] for row in rows(folder / "counts.csv")}
    assert counted["scaling_study", "section 3"] == "8"
    assert len(rows(folder / "record/runs.csv")) == 15
    verdicts = {row["id"]: row["verdict"] for row in rows(finished.root / "results/evaluation/claims.csv")}
    assert verdicts["numa-count-study"] == verdicts["numa-success"] == "reproduced"
    assert verdicts["numa-count-scaling-section"] == verdicts["numa-penalty-compute-model"] == "contradicted"
    assert verdicts["numa-penalty-memory-measured"] == "no data"
    page = (finished.root / "results/report/index.html").read_text(encoding="utf-8")
    topology = json.loads((folder / "topology.json").read_text())
    assert f"<strong>{topology['verdict']}</strong>" in page and 'id="numa"' in page
