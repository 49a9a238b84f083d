"""`tilecast measure`: forecasts first, measured twice, compared, calibrated; mistakes are one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tilecast.cli import main  # noqa: E402
from tilecast.evaluate.machine import evaluate, folders, kernels  # noqa: E402
from tilecast.measure.store import digest, provenance, runs  # noqa: E402
from tilecast.tables.declared.measured import PLANNED_KERNELS  # noqa: E402

FEW = ["--families", "softmax,bmm", "--dtypes", "fp32", "--each", "6"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a CPU measured in two runs."""
    root = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tilecast.cli.measure.LONGEST_S", 0.002)
        command = ["measure", "kernels", "--device", "cpu", "--output", str(root), *FEW]
        for budget in ("0.1s", "30s"):  # the first too short for all twelve
            assert main([*command, "--budget", budget]) == 0
    return next(path.parent for path in root.glob("*/description.json"))


@pytest.mark.slow
def test_two_runs_measure_everything_once_after_the_same_forecasts(measured: Path) -> None:
    found = runs(measured, "kernels")
    assert len(found) == 2
    sha = digest(measured / "forecasts-kernels.parquet")
    assert {provenance(path)["forecasts_sha256"] for path in found} == {sha}
    live, untimed = kernels(measured, "live")
    assert len(live) == 2 * 12 and untimed.empty  # two predictors
    assert not live.duplicated(["predictor", "family", "op", "b", "m", "n", "k"]).any()


@pytest.mark.slow
def test_what_came_of_it_is_shown_and_calibrates(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--device", measured.name, "--output", str(measured.parent)]
    assert main(["measure", "errors", *place]) == 0
    said = capsys.readouterr().out
    assert "roofline" in said and "softmax" in said
    assert main(["measure", "calibrate", *place]) == 0
    scales = json.loads((measured / "calibration.json").read_text())
    assert scales["n"] == 12 and {kernel[0] for kernel in scales["kernels"]} == {"softmax", "bmm"}
    capsys.readouterr()
    device = ["--device", str(measured / "description.json")]
    command = ["forecast", "--model", "gpt2", "--sequence", "32", "--engine", "eager", *device, "--json"]
    pytest.importorskip("transformers")
    assert main(command) == 0
    plain = json.loads(capsys.readouterr().out)["answer"]["latency_ms"]
    assert main([*command, "--calibration", str(measured / "calibration.json")]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["latency_ms"] != plain


@pytest.mark.slow
def test_changed_forecasts_are_no_forecasts_made_before(measured: Path, tmp_path: Path) -> None:
    import shutil

    from tilecast.base.errors import InputError
    from tilecast.tables.io import read, write

    copy = tmp_path / "root" / measured.name
    shutil.copytree(measured, copy)
    path = copy / "forecasts-kernels.parquet"
    write(read(path, PLANNED_KERNELS).assign(predicted_ms=1.0), path, PLANNED_KERNELS)
    with pytest.raises(InputError, match="are not the forecasts"):
        evaluate([("live", copy)], 0)


BARE = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pydantic", "scipy", "safetensors", "snakemake", "matplotlib", "jinja2"}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Block())
from tilecast.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_bare_host_measures_what_was_forecast_elsewhere(measured: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / measured.name
    copy.mkdir()
    for name in ("description.json", "forecasts-kernels.parquet"):
        shutil.copy(measured / name, copy)
    command = ["measure", "kernels", "--device", "cpu", "--budget", "1s", "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", BARE, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "kernels measured" in done.stdout
    assert digest(copy / "forecasts-kernels.parquet") == digest(measured / "forecasts-kernels.parquet")
    assert provenance(runs(copy, "kernels")[0])["rows"] > 0
    study = tmp_path / "study.yaml"
    study.write_text("workloads:\n  - {model: vit32x2x128, dtype: [fp32]}\n")
    command = [
        "measure",
        "model",
        "--device",
        "cpu",
        "--study",
        str(study),
        "--budget",
        "1s",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, "-c", BARE, *command], capture_output=True, text=True)
    assert done.returncode == 0 and runs(copy, "models"), done.stderr


@pytest.mark.slow
def test_asking_for_what_was_not_forecast_is_refused(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--device", "cpu", "--output", str(measured.parent)]
    assert main(["measure", "kernels", *place, "--dtypes", "bf16"]) == 1
    assert "holds no forecast of bf16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kernels", "--budget", "0"], "leaves no time to measure"),
        (["kernels", "--budget", "soon"], "'soon' is no time"),
        (["kernels", "--families", "magic"], "'magic' is not known"),
        (["kernels", "--dtypes", "fp7"], "'fp7' is not known"),
        (["kernels", "--device", "abacus"], "'abacus' is not known"),
        (["kernels", "--threads", "1000"], "1000 on"),
        (["model"], "names no model and no study"),
        (["model", "--model", "no_such"], "no_such"),
        (["model", "--study", "none.yaml"], "none.yaml"),
        (["errors", "--device", "nowhere"], "holds no measurements"),
        (["calibrate", "--device", "nowhere"], "holds no measured kernel"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", *arguments, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "kernels", "--device", "cuda", "--output", str(tmp_path)]) == 1
    assert "no CUDA device is visible" in capsys.readouterr().err


def test_forecasts_for_a_gpu_are_made_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["measure", "forecast", "--device", "NVIDIA_H200", "--output", str(tmp_path), *FEW]
    assert main(command) == 0
    folder = tmp_path / "NVIDIA_H200"
    first = digest(folder / "forecasts-kernels.parquet")
    assert first in capsys.readouterr().out
    assert main(command) == 0
    assert digest(folder / "forecasts-kernels.parquet") == first
    assert json.loads((folder / "description.json").read_text())["known"] == "NVIDIA_H200"
    assert folders(tmp_path) == []  # nothing was measured yet
