"""Weights are those of their record: garbled, swapped, cut and missing files are refused in one line."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.registry import TRAINED, load_predictor
from tilecast.predict.weights import read_arrays, read_record, write_arrays, write_record

FILES = [(folder.name, file.name) for folder in sorted(WEIGHTS.iterdir()) for file in sorted(folder.iterdir())]


def load(name: str, folder: Path) -> object:
    return load_predictor(name, folder) if name in TRAINED else HalfPrecision.load(folder)


@pytest.fixture(params=[pair for pair in FILES if pair[1] != "record.json"], ids="/".join)
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A copy of a shipped folder of weights, and one file of it."""
    name, file = request.param
    shutil.copytree(WEIGHTS / name, tmp_path / name)
    return name, tmp_path / name / file


def garbled(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1  # within the last number, or the last digits
    file.write_bytes(data)


def one_tensor(file: Path) -> None:
    write_arrays(file.parent, file.stem, {"a": np.zeros(3, np.float32)})


def another(file: Path) -> None:
    other = next(WEIGHTS / a / b for a, b in FILES if b not in (file.name, "record.json"))
    shutil.copyfile(other, file)


@pytest.mark.parametrize("damage", [garbled, one_tensor, another, Path.unlink], ids=lambda change: change.__name__)
def test_a_file_that_is_not_the_records_is_one_line(
    trained: tuple[str, Path], damage: Callable[[Path], None]
) -> None:
    name, file = trained
    damage(file)
    if damage is one_tensor and file.suffix == ".json":
        file.write_text('{"lines": {}, "bandwidth_bytes_per_s": {}}')
    with pytest.raises(InputError, match=r"is not the file that its record|does not exist") as caught:
        load(name, file.parent)
    assert str(file) in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record.pop("sha256"), "holds no checksums"),
        (lambda record: record.update(sha256={}), "holds no checksums"),
        (lambda record: record["sha256"].pop("bmm.safetensors"), r"holds no checksum of bmm\.safetensors"),
    ],
)
def test_a_record_without_checksums_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, object]], object], words: str
) -> None:
    shutil.copytree(WEIGHTS / "habitat", tmp_path / "habitat")
    record = json.loads((tmp_path / "habitat/record.json").read_text())
    change(record)
    (tmp_path / "habitat/record.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"{words}.*tilecast train"):
        load_predictor("habitat", tmp_path / "habitat")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    write_arrays(tmp_path, "x", {"b": np.ones(2), "a": np.zeros(1, np.float16)})
    written = write_record(tmp_path, {"predictor": "mine"}, ["x.safetensors"])
    assert read_record(tmp_path) == written
    assert sorted(read_arrays(tmp_path, written, "x")) == ["a", "b"]


def test_every_shipped_record_names_every_file() -> None:
    for folder in WEIGHTS.iterdir():
        files = {file.name for file in folder.iterdir()} - {"record.json"}
        assert set(read_record(folder)["sha256"]) == files


def test_checking_a_forecasts_weights_takes_little_processor_time() -> None:
    started = time.process_time()
    for name in ("tilecast", "half_precision"):
        read_record(WEIGHTS / name)
    assert time.process_time() - started < 0.1
