"""The whole campaign, rehearsed: on a GPU that plays a script, with all that can go wrong; and on the CPU."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from scripted_cuda import STEP_MS, Layer, nothing, scripted  # noqa: E402

from tilecast.base.errors import InputError  # noqa: E402
from tilecast.cli import campaign as command  # noqa: E402
from tilecast.cli.campaign import all_stages, planned  # noqa: E402
from tilecast.evaluate import machine  # noqa: E402
from tilecast.locality import copies  # noqa: E402
from tilecast.measure import campaign as module  # noqa: E402
from tilecast.measure import cuda, session, stages  # noqa: E402
from tilecast.measure.campaign import Campaign, Stage, begin_anew, taken_over  # noqa: E402
from tilecast.measure.describe import describe, write_description  # noqa: E402
from tilecast.measure.grid import grid  # noqa: E402
from tilecast.measure.store import PLANS, load_run, provenance, runs  # noqa: E402
from tilecast.tables.declared.measured import MEASURED, PLANNED_KERNELS  # noqa: E402
from tilecast.tables.io import write  # noqa: E402

NAMES = [
    "peaks", "kernels", "cells", "models", "launches", "copies", "pipelines", "overlap", "attention", "narrow",
    "rest",
]  # fmt: skip
STUDY = """
cells:
  - {model: vit32x1x64}
  - {model: vit32x1x64, mode: training}
workloads:
  - {model: vit32x1x64, execution: [eager, graphs]}
"""
NEED_A_GPU = {"pipelines", "overlap"}  # which open torch.cuda itself: they fail on a played one, and others go on


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A study of tiny models; sizes that a CPU plays quickly."""
    monkeypatch.setitem(stages.PEAK_EDGE, "cuda", 32)
    monkeypatch.setitem(stages.COPIED_BYTES, "cuda", 1 << 12)
    monkeypatch.setattr(stages, "REST_S", 0.0)
    monkeypatch.setattr(stages, "SAMPLE_S", 1e-4)
    monkeypatch.setattr(stages, "LAUNCHES", 2)
    monkeypatch.setattr(cuda, "FLUSH_BYTES", 64)
    monkeypatch.setattr(stages, "QUERIES", ((16, 16),))
    monkeypatch.setattr(stages, "NARROW", ((16, 32, 32),))
    monkeypatch.setitem(copies.LARGEST, "cuda", 1 << 12)
    monkeypatch.setattr(session, "LONGEST_SHARE", 10.0)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # frees memory of a GPU; here it looks through all of torch
    monkeypatch.setenv(module.CAMPAIGN, "")  # a test sets it: taken away afterwards
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def kernel_plan() -> pd.DataFrame:
    found = grid(["fp32", "bf16"], ["softmax", "bmm"], each=3)
    found.loc[found["family"] == "softmax", ["b", "m"]] = [[8, 16], [8, 24], [9, 17]] * 2
    found.loc[found["family"] == "bmm", ["b", "m", "n", "k"]] = [[1, 8, 8, 8], [2, 9, 8, 8], [1, 16, 17, 8]] * 2
    return found.assign(rank=range(len(found)), predicted_ms=0.01)


def quick(study: Path) -> list[Stage]:
    """All stages; the one that fills its time has little."""
    first, *others = all_stages(kernel_plan(), study)
    return [replace(first, enough_s=0.3), *others]


def rehearse(
    folder: Path, study: Path, layer: Layer, lines: list[str] | None = None, starts: int = 1, **more: Any
) -> tuple[str, Campaign]:
    """One process of the campaign `rehearsal`; where something fails, without the stage that fills its time."""
    said = [] if lines is None else lines
    about = {"campaign": "rehearsal", "command": "test"}
    campaign = Campaign(scripted(layer, **more), folder, about, say=said.append)
    fails = layer.fail is not nothing
    ended = campaign.run(quick(study)[1 if fails else 0 :], time.monotonic(), 300.0, starts)
    print("\n".join(said))
    return ended, campaign


def table(folder: Path, kind: str) -> pd.DataFrame:
    return pd.concat([load_run(path, kind) for path in runs(folder, kind)], ignore_index=True)


def report(folder: Path) -> pd.DataFrame:
    """How the stages went, by their names."""
    readings = table(folder, "readings")
    return readings[readings["stage"] == module.REPORT].set_index("item")


def at(number: int, words: str) -> Callable[[int], None]:
    """A failure of the event of that number."""

    def fail(event: int) -> None:
        if event == number:
            raise RuntimeError(words)

    return fail


@pytest.mark.slow
def test_every_stage_measures_and_what_comes_back_is_eight_small_files(small: Path, tmp_path: Path) -> None:
    folder, lines = tmp_path / "NVIDIA_H200", list[str]()
    ended, _ = rehearse(folder, small, Layer(), lines=lines)
    assert ended == "complete" and [line.split()[2] for line in lines] == NAMES
    files = sorted(folder.iterdir())
    assert len(files) <= 8 and max(path.stat().st_size for path in files) < 16 << 20
    went = report(folder)
    assert list(went.index) == NAMES
    assert set(went.index[went["outcome"] == "failed"]) == NEED_A_GPU
    kernels, models, readings = (table(folder, kind) for kind in ("kernels", "models", "readings"))
    assert len(kernels) == len(kernel_plan()) and set(kernels["outcome"]) == {"measured"}
    assert set(models["execution"]) == {"eager", "graphs"} and set(models["outcome"]) == {"measured"}
    assert (readings["variant"] == "graph").sum() >= len(kernels)
    by_rule = readings[readings["stage"] == "cells"]
    assert sorted(by_rule["variant"]) == ["backward", "forward", "forward"]
    sustained = readings[(readings["stage"] == "peaks") & (readings["variant"] == "sustained")]
    assert {"product fp32", "product tf32", "product fp16", "product bf16", "copy"} <= set(sustained["item"])
    assert sustained["amount"].notna().all()
    for kind in MEASURED:
        record = provenance(runs(folder, kind)[0])
        assert record["status"] == "complete" and record["campaign"] == "rehearsal"
        assert "no driver here" in record["facts"]["notes"][0]  # NVML is missing, and the record says so


def test_memory_that_does_not_suffice_costs_one_row(small: Path, tmp_path: Path) -> None:
    words = "CUDA out of memory. Tried to allocate 20.00 GiB"
    ended, _ = rehearse(tmp_path / "x", small, Layer(fail=at(30, words)))
    found = pd.concat([table(tmp_path / "x", kind) for kind in ("kernels", "models", "readings")])
    assert ended == "complete" and list(found["outcome"]).count("out of memory") == 1
    assert set(report(tmp_path / "x").query("outcome == 'failed'").index) == NEED_A_GPU


@pytest.mark.slow
@pytest.mark.parametrize("words", ["no kernel image is available", "CUDA error: operation not permitted"])
def test_a_kernel_that_raises_costs_one_row(small: Path, tmp_path: Path, words: str) -> None:
    ended, _ = rehearse(tmp_path / "x", small, Layer(fail=at(200, words)))  # the device still answers
    found = pd.concat([table(tmp_path / "x", kind) for kind in ("kernels", "models", "readings")])
    assert ended == "complete" and (found["reason"].fillna("").str.contains(words)).sum() == 1


@pytest.mark.slow
def test_a_profiler_without_rights_costs_names_alone(small: Path, tmp_path: Path) -> None:
    rehearse(tmp_path / "x", small, Layer(), trace=RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"))
    kernels = table(tmp_path / "x", "kernels")
    assert set(kernels["outcome"]) == {"measured"} and kernels["kernel_name"].isna().all()
    notes = provenance(runs(tmp_path / "x", "kernels")[0])["facts"]["notes"]
    assert any("INSUFFICIENT_PRIVILEGES" in note for note in notes)


@pytest.mark.slow
def test_a_lost_device_begins_a_new_process_that_goes_on_in_the_same_files(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: int) -> None:
        if event == 500:
            layer.lost = True
            layer.answer()

    layer, folder = Layer(fail=fail), tmp_path / "x"
    ended, _ = rehearse(folder, small, layer)
    assert ended == "device lost"
    before = {kind: table(folder, kind) for kind in MEASURED if runs(folder, kind)}
    lost = pd.concat(before.values())
    lost = lost[lost["reason"].fillna("").str.contains("the device was lost while measuring")]
    assert len(lost) == 2  # the row itself, and its stage

    called: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: called.append(arguments))
    began = time.monotonic()
    begin_anew("rehearsal", began, 600.0, 1)
    assert called[0][1][1:3] == ["-m", "tilecast"]
    assert taken_over(5.0) == ("rehearsal", began, 600.0, 2)  # neither the time nor the name begins anew
    begin_anew("rehearsal", began, 600.0, module.STARTS)
    begin_anew("rehearsal", began - 599, 600.0, 1)
    assert len(called) == 1  # not without end, not for the last seconds

    ended, _ = rehearse(folder, small, Layer(), starts=2)
    assert ended == "complete" and len(list(folder.iterdir())) <= 8
    kernels = table(folder, "kernels")
    assert not kernels.duplicated(list(MEASURED["kernels"].key)).any() and len(kernels) == len(kernel_plan())
    after = pd.concat([table(folder, kind) for kind in before])
    assert len(after) > len(pd.concat(before.values()))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_once_there_is_room_again(small: Path, tiny_disk: Path) -> None:
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(252 << 10))
    lines: list[str] = []

    class Lines(list[str]):
        def append(self, line: str) -> None:
            lines.append(line)
            if "attention" in line:
                filler.unlink()

    ended, campaign = rehearse(tiny_disk / "x", small, Layer(fail=lambda event: None), lines=Lines())
    assert ended == "complete" and any("No space left" in line for line in lines)
    for kind, run in campaign.runs.items():
        assert len(table(tiny_disk / "x", kind)) == len(run.rows)
    assert len(table(tiny_disk / "x", "kernels")) == len(kernel_plan())


@pytest.mark.slow
def test_time_that_is_over_ends_a_stage_and_not_the_campaign(tmp_path: Path) -> None:
    def slow(campaign: Campaign, bench: stages.Bench, seconds: float) -> None:
        bench.read("quick", lambda: lambda: None, {})
        bench.read("slow", lambda: lambda: time.sleep(30), {})

    def short(campaign: Campaign, bench: stages.Bench, seconds: float) -> None:
        bench.read("quick", lambda: lambda: None, {})

    about = {"campaign": "rehearsal"}
    campaign = Campaign(scripted(Layer()), tmp_path / "x", about, say=print)
    began = time.monotonic()
    parts = [Stage("slow", 0.2, 9, slow), Stage("late", 0.0, 9, short), Stage("quick", 1.0, 9, short)]
    assert campaign.run(parts, began, 3.0) == "complete"
    assert time.monotonic() - began < 3.0
    readings = table(tmp_path / "x", "readings")
    assert list(readings["stage"] + " " + readings["item"]) == [
        "slow quick", "campaign slow", "campaign late", "quick quick", "campaign quick",
    ]  # fmt: skip
    assert list(report(tmp_path / "x")["reason"].fillna(""))[:2] == ["its time was over"] * 2


@pytest.mark.slow
def test_a_later_call_repeats_nothing(small: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "kept/x", tmp_path / "new/x"
    rehearse(first, small, Layer())
    about = {"campaign": "another day"}
    campaign = Campaign(scripted(Layer()), second, about, kept=(first,), say=print)
    campaign.run(quick(small), time.monotonic(), 300.0)
    assert not runs(second, "kernels") and not runs(second, "models")
    assert [path.name for path in runs(second, "readings")] == ["readings-002.parquet"]  # how its stages went


def test_the_table_of_the_documents_is_the_plan() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/use/measuring.md").read_text()
    cells = [line.split("|") for line in page.splitlines() if line.count("|") == 7]
    rows = {row[1].strip(" `"): row[3:7] for row in cells}
    parts = all_stages(kernel_plan(), Path("config/studies/live.yaml"))
    for column, minutes in enumerate((5, 9, 11, 60)):
        seconds = [round(part.seconds(60.0 * minutes)) for part in parts[:-1]]
        left = round(60 * minutes - sum(part.seconds(60.0 * minutes) for part in parts[:-1]))
        assert [int(rows[part.name][column]) for part in parts] == [*seconds, left]


@pytest.mark.slow
def test_an_interruption_leaves_everything_on_disk(tmp_path: Path) -> None:
    def work(campaign: Campaign, bench: stages.Bench, seconds: float) -> None:
        bench.read("quick", lambda: lambda: None, {})
        raise KeyboardInterrupt

    campaign = Campaign(scripted(Layer()), tmp_path / "x", {}, say=print)
    with pytest.raises(KeyboardInterrupt):
        campaign.run([Stage("one", 1.0, 9, work)], time.monotonic(), 5.0)
    assert list(table(tmp_path / "x", "readings")["item"]) == ["quick"]


@pytest.mark.slow
def test_what_comes_back_is_held_against_the_forecasts_kept(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command on a played H100, its files copied home, and what the page is made of."""
    backend, kept = scripted(Layer("NVIDIA H100 80GB HBM3")), tmp_path / "kept"
    home = kept / backend.name
    write_description(describe(backend), home / "description.json")
    plan = kernel_plan().assign(predictor="tilecast", predicted_low_ms=0.005, predicted_high_ms=0.02)
    write(plan[list(PLANNED_KERNELS.columns)], home / PLANS["kernels"], PLANNED_KERNELS)
    args = argparse.Namespace(
        output=tmp_path / "out", kept=kept, budget=300.0, study=small, stages="kernels,models,rest", plan=False
    )
    monkeypatch.setattr(command, "preload", lambda: None)
    assert command.run(args, backend, "test") == 0
    came = sorted((tmp_path / "out" / backend.name).iterdir())
    assert len(came) == 8
    for path in came:
        shutil.copy(path, home)
    live, untimed = machine.kernels(home, "replayed")
    assert len(live) == len(plan) and untimed.empty
    assert live["measured_ms"].to_numpy() == pytest.approx(STEP_MS)
    untimed = untimed.assign(where="replayed", device=backend.name)
    assert machine.summary(live, untimed).iloc[0]["mape_percent"] == pytest.approx(0.0, abs=1e-6)
    write(plan[list(PLANNED_KERNELS.columns)].assign(predicted_ms=1.0), home / PLANS["kernels"], PLANNED_KERNELS)
    with pytest.raises(InputError, match="are not the forecasts"):
        machine.kernels(home, "replayed")


@pytest.mark.parametrize(("minutes", "least"), [(5, 5), (11, 10), (60, 20)])
def test_the_plan_gives_every_stage_its_seconds_and_spends_the_budget(minutes: int, least: float) -> None:
    parts = all_stages(kernel_plan(), Path("config/studies/live.yaml"))
    seconds = [part.seconds(60.0 * minutes) for part in parts[:-1]]
    assert [part.name for part in parts] == NAMES and min(seconds) >= least
    assert 60.0 * minutes - sum(seconds) >= 0.08 * 60 * minutes
    assert planned(60.0 * minutes, parts).count("\n") == len(parts)


ON_THE_HOST = ("torch", "transformers", "pandas", "pyarrow", "pyyaml", "scipy")  # what a borrowed host has


def environment(folder: Path) -> dict[str, str]:
    """Variables under which `python -S` finds these packages, what they need, and this library; nothing else."""
    installed = {canonical(one.metadata["Name"]): one for one in distributions()}
    wanted, queue = set[str](), list(ON_THE_HOST)
    while queue:
        name = queue.pop()
        if name in wanted or name not in installed or name == "pydantic":
            continue
        wanted.add(name)
        needs = (need for need in installed[name].requires or () if "extra ==" not in need)
        queue += [canonical(re.match(r"[\w.-]+", need)[0]) for need in needs]  # type: ignore[index]
    folder.mkdir()
    for name in wanted:
        for top in {file.parts[0] for file in installed[name].files or () if file.parts[0] != ".."}:
            place = Path(str(installed[name].locate_file(top)))
            if place.exists() and not (folder / top).exists():
                (folder / top).symlink_to(place)
    source = Path(__file__).resolve().parents[3] / "src"
    return {**os.environ, "PYTHONPATH": f"{folder}:{source}"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.slow
def test_the_cpu_is_measured_by_one_command_with_the_packages_of_a_borrowed_host(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    bare = environment(tmp_path / "host")
    assert not {path.name for path in (tmp_path / "host").iterdir()} & {"pydantic", "snakemake", "pytest"}
    command = [
        sys.executable, "-S", "-m", "tilecast", "measure", "campaign", "--budget", "12s", "--device", "cpu",
        "--output", str(tmp_path / "out"), "--study", str(tmp_path / "study.yaml"), "--kept", str(tmp_path / "x"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=bare)
    print(done.stdout)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    folder = next((tmp_path / "out").iterdir())
    went = report(folder)
    assert list(went.index) == NAMES and not (went["outcome"] == "failed").any()
    assert len(list(folder.iterdir())) <= 8 + 1  # a GPU's description is in the repository
    readings = table(folder, "readings")
    rate = readings[(readings["item"] == "product fp32") & (readings["variant"] == "rested")]
    assert (rate["amount"] / (rate["latency_ms"] / 1e3)).median() > 1e9
    assert not pd.concat([table(folder, "kernels"), readings])["reason"].fillna("").str.contains("installed").any()
    record = json.loads((folder / "readings-001.json").read_text())
    assert record["host"]["processor"] and "forecasts_sha256" not in record


def test_a_stage_that_does_not_exist_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tilecast.cli import main

    command = ["measure", "campaign", "--device", "cpu", "--output", str(tmp_path), "--stages", "peaks,moon"]
    assert main(command) == 1
    assert "'moon' is not a stage" in capsys.readouterr().err and not list(tmp_path.iterdir())
