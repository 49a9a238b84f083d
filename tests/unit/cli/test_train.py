"""`tilecast train` on what `tilecast measure` wrote: collect, train, forecast."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.base.paths import DEVICES
from tilecast.cli import main
from tilecast.cli.train import known_devices, read_kernels
from tilecast.measure.cpu import Cpu
from tilecast.measure.grid import grid
from tilecast.measure.store import Run, training_kernels
from tilecast.predict.kernel import MEASURED_FAMILIES
from tilecast.predict.registry import TRAINED

pytest.importorskip("torch")
KEPT = "resources/measured/CPU_AMD_EPYC_1t"


def trained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["train", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("place", ["kernels-001.parquet", "", ".."])
def test_the_kept_record_of_a_cpu_trains_and_its_weights_forecast(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """A run's file, its device's folder, the folder of all devices: each as `tilecast measure` leaves it."""
    data = repository / KEPT / place
    said = trained(capsys, "--data", str(data), "--predictor", "li", "--output", str(tmp_path))
    timed = pd.concat(pd.read_parquet(path) for path in sorted((repository / KEPT).glob("kernels-*.parquet")))
    if place.endswith(".parquet"):
        timed = pd.read_parquet(data)
    used = timed[(timed["dtype"] == "fp32") & timed["family"].isin(MEASURED_FAMILIES)]
    assert f"trained on {len(used)} kernels of 1 GPU;" in said
    device = repository / KEPT / "description.json"
    work = ["--model", "gpt2", "--sequence", "32", "--device", str(device), "--predictor", "li", "--dtype", "fp32"]
    code = main(["forecast", *work, "--weights", str(tmp_path / "li"), "--json"])
    answered = capsys.readouterr()
    if place.endswith(".parquet"):  # its vector kernels are too small for a line
        assert code == 1 and "no line for elementwise" in answered.err
    else:
        assert code == 0 and json.loads(answered.out)["answer"]["latency_ms"] > 0


@pytest.fixture
def collected(repository: Path, tmp_path: Path) -> Path:
    """A folder as `tilecast measure kernels` leaves it: its default plan, with made-up times."""
    folder = tmp_path / "measured/CPU_AMD_EPYC_1t"
    folder.mkdir(parents=True)
    shutil.copy(repository / KEPT / "description.json", folder)
    run = Run(Cpu(1), folder, "kernels", {"device": folder.name})
    for row in grid(["fp32", "bf16"], ("linear", "softmax")).to_dict("records"):
        sizes = [max(int(row[name]), 1) for name in "bmnk"]
        run.add(
            row
            | {"latency_ms": 1e-9 * np.prod(sizes, dtype=float) + 0.01, "repetitions": 5, "outcome": "measured"}
            | {"kernel_name": "gemm", "grid": "4x2x1", "block": "128x1x1"}
        )
    run.add(row | {"b": 7, "outcome": "failed", "reason": "no memory", "repetitions": 0})
    run.save("complete")
    return folder


def test_a_default_plan_is_enough_for_tilecast(
    collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = trained(capsys, "--data", str(collected / "kernels-001.parquet"), "--output", str(tmp_path / "out"))
    assert "tilecast: trained on 320 kernels of 1 GPU;" in said
    work = ["--model", "gpt2", "--sequence", "32", "--device", str(collected / "description.json")]
    assert main(["forecast", *work, "--weights", str(tmp_path / "out/tilecast"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["latency_ms"] > 0


def test_only_what_was_timed_in_single_precision_is_taken_with_its_grid(collected: Path) -> None:
    table = training_kernels([collected / "kernels-001.parquet"])
    assert len(table) == 320 and set(table["dtype"]) == {"fp32"} and table["latency_ms"].notna().all()
    assert table[["grid", "grid_x", "grid_y", "grid_z", "block"]].drop_duplicates().to_numpy().tolist() == [
        [8, 4, 2, 1, 128]
    ]
    assert set(read_kernels(collected)["device"]) <= set(known_devices("li", Path("nowhere"), collected))


def test_a_predictor_is_trained_with_the_figures_that_it_is_asked_with(tmp_path: Path) -> None:
    """The artifact's device files, wherever they lie beside its kernels, are of those that say so alone."""
    kernels = tmp_path / "data/train/collect/bmm/p2.1.0/Tesla P4.csv"
    stated = tmp_path / "data/train/device_configs/Tesla_P4.json"
    for file in (kernels, stated):
        file.parent.mkdir(parents=True)
    kernels.touch()
    figures = {"Device": "Tesla P4", "Dev_Mem": 8, "Mem_Bw": 192, "Num_Sm": 40, "Core_Per_SM": 64, "Freq": 1113}
    stated.write_text(json.dumps(figures | {"SingleFLOPs": 5699, "L2Cache": 2}))
    for data in (tmp_path / "data", tmp_path / "data/train/collect", kernels.parent.parent):
        count = {name: known_devices(name, DEVICES, data)["Tesla_P4"].sm_count for name in TRAINED}
        assert count == {"tilecast": 20, "neusight": 20, "habitat": 40, "li": 40}
    shutil.copytree(DEVICES, tmp_path / "own")
    assert known_devices("li", tmp_path / "own", tmp_path / "data")["Tesla_P4"].sm_count == 20  # as asked for


@pytest.mark.parametrize("predictor", ["tilecast", "neusight", "habitat"])
def test_too_few_kernels_are_one_line(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], predictor: str
) -> None:
    words = ["--data", str(repository / KEPT), "--predictor", predictor, "--output", str(tmp_path)]
    assert main(["train", *words]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("tilecast: error: ") and "Traceback" not in "".join(said)
    assert not (tmp_path / predictor / "record.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--predictor", "neusight", "--seeds", "2"], "have no median"),
        (["--predictor", "li", "--seeds", "3"], "not of li"),
        (["--seeds", "3"], "not of tilecast"),
    ],
)
def test_seeds_that_have_no_median_or_no_meaning_are_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["train", "--data", str(repository / KEPT), *words]) == 1
    assert said in capsys.readouterr().err


def test_a_measurement_that_was_changed_is_not_trained_on(
    collected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = collected / "kernels-001.parquet"
    table = pd.read_parquet(file)
    table.assign(latency_ms=1.0).to_parquet(file)
    assert main(["train", "--data", str(file), "--predictor", "li"]) == 1
    assert "is not what was measured (its checksum differs)" in capsys.readouterr().err
