"""An edit of a module re-runs at most as many jobs of a default run as the table beside this file allows it."""

from __future__ import annotations

import random
import re

import pytest
from blast_radius import Job, allowed, jobs_of, radius, rerun
from copies import Copy, copy_tree

SAMPLED = 4
COMPARED = {"evaluate_kernels", "evaluate_own_graphs"}  # steps that forecast with every predictor
FORECAST = COMPARED | {
    "evaluate_baselines",
    "half_precision_evaluate",
    "locality_predict",
    "measure_evaluate",
    "measure_scenarios",
    "moe_study",
    "multigpu_collectives",
    "multigpu_validation",
    "predict",
    "predict_logo",
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    return jobs_of(copy_tree(tmp_path_factory.mktemp("radius") / "tree"))


def users(module: str, jobs: list[Job]) -> set[str]:
    """The rules that run a module."""
    return {job.rule for job in jobs if f"src/tilecast/{module}.py" in job.inputs}


def test_no_module_concerns_more_jobs_than_the_table_allows(jobs: list[Job]) -> None:
    """Where this fails: import less. What has to be is written down by `python tests/support/blast_radius.py`."""
    counted, most = radius(jobs), allowed()
    assert set(counted) == set(most), "a module has no row in blast_radius.csv, or a row no module"
    assert {module: jobs for module, jobs in counted.items() if jobs > most[module]} == {}
    assert max(counted.values()) <= len(jobs)
    print(f"{len(jobs)} jobs; median {sorted(counted.values())[len(counted) // 2]}, worst {max(counted.values())}")


@pytest.mark.parametrize("name", ["neusight", "habitat"])
def test_a_baseline_concerns_itself_and_what_compares(name: str, jobs: list[Job]) -> None:
    module = f"predict/baselines/{name}"
    theirs = {"evaluate_weights"} if name == "neusight" else set()  # runs the authors' own weights
    assert users(module, jobs) == {"predict"} | COMPARED | theirs
    own = [job for job in rerun(f"src/tilecast/{module}.py", jobs) if job.rule == "predict"]
    assert [job.outputs >= {f"results/predict/{name}.csv"} for job in own] == [True]


def test_a_device_concerns_what_forecasts(jobs: list[Job]) -> None:
    drawn = {"plot_modern_serving", "report_page"}  # say which GPU a name means
    assert users("hardware/device", jobs) - drawn <= FORECAST | {"evaluate_weights"}


def test_a_stages_tables_concern_that_stage_and_who_reads_it(jobs: list[Job]) -> None:
    readers = {"appendix", "audit_claims", "report_page"}
    for stage, rooms in {"moe": ("moe", "plot_moe"), "locality": ("locality", "plot_numa")}.items():
        used = users(f"tables/declared/{stage}", jobs)
        assert used and {rule for rule in used if not rule.startswith(rooms)} <= readers


@pytest.mark.slow
def test_real_dry_runs_agree_with_the_count(jobs: list[Job], finished: Copy) -> None:
    counted = radius(jobs)
    chosen = random.Random(0).sample(sorted(module for module, count in counted.items() if count), SAMPLED)
    for module in chosen:
        with finished.edited(module, lambda text: text + "\n# edited\n"):
            output = finished.snakemake("--dry-run").output
        assert re.findall(r"^total +(\d+)$", output, re.MULTILINE)[-1:] == [str(counted[module])], module
