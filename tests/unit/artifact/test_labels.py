"""Labels that a user brings, and the transcribed figures."""

import os
from pathlib import Path

import pytest

from tilecast.artifact import names
from tilecast.artifact.cells import read_labels
from tilecast.artifact.fetch import mirror_files, write_archive
from tilecast.artifact.labels import read_label_file, with_label_files
from tilecast.artifact.lock import read_lock
from tilecast.artifact.new_gpus import new_gpus
from tilecast.artifact.published import read_published, transcribe
from tilecast.base.errors import InputError
from tilecast.hardware.device import row_of_table
from tilecast.hardware.device_file import devices
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import read

REPOSITORY = Path(__file__).resolve().parents[3]
PUBLISHED = REPOSITORY / "resources/published"
HEAD = "device,model,mode,sequence_length,batch_size,option,latency_ms"
ROW = "MyGPU,gpt2_large,inference,1024,4,none,12.5"


def label_file(tmp_path, *lines):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_short_label_file_is_enough_and_markup_stays_text(tmp_path):
    path = label_file(tmp_path, HEAD, ROW, ROW.replace("gpt2_large", "<script>alert(1)</script>"))
    rows = read_label_file(path)
    assert rows["latency_ms"].tolist() == [12.5, 12.5]
    assert rows["model"].tolist() == ["gpt2_large", "<script>alert(1)</script>"]
    assert rows["source"].unique().tolist() == ["mine.csv"]  # and no path of this machine


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEAD.replace(",latency_ms", ""), ROW.removesuffix(",12.5")], "column latency_ms is missing"),
        ([HEAD + ",colour", ROW + ",red"], "column colour is not known"),
        ([HEAD, ROW, ROW.replace("12.5", "fast")], "line 3, column latency_ms: 'fast' is not a number"),
        ([HEAD, ROW, "", ROW.replace("12.5", "-1").replace("1024", "512")], "line 4, column latency_ms: -1"),
        ([HEAD, ROW.replace("12.5", "NaN")], "line 2, column latency_ms"),
        ([HEAD, ROW.replace("12.5", "inf")], "line 2, column latency_ms"),
        ([HEAD, ROW.replace("12.5", "")], "line 2, column latency_ms: is empty"),
        ([HEAD, ROW.replace(",4,", ",4.5,")], "line 2, column batch_size"),
        ([HEAD, ROW.replace("inference", "inf")], "line 2, column mode: 'inf' is not allowed"),
        ([HEAD, ROW, ROW], "line 3: the cell (MyGPU, gpt2_large, inference, 1024, 4, none) occurs twice"),
        ([HEAD, ROW + ",more"], "cannot be read as a table"),
        ([HEAD], "holds no row"),
        ([""], "cannot be read as a table"),
    ],
)
def test_a_bad_label_file_names_file_and_line(tmp_path, lines, said):
    with pytest.raises(InputError) as caught:
        read_label_file(label_file(tmp_path, *lines))
    assert "mine.csv" in str(caught.value)
    assert said in str(caught.value)


def test_foreign_bytes_and_a_missing_file_are_one_line(tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"\xff\xfe\0\1")
    for name in ("mine.csv", "none.csv"):
        with pytest.raises(InputError, match=name):
            read_label_file(tmp_path / name)


def test_a_users_cell_that_the_artifact_measured_is_refused(tmp_path):
    labels = read_published(PUBLISHED / "end_to_end.csv")[0]
    assert len(with_label_files(labels, [label_file(tmp_path, HEAD, ROW)])) == len(labels) + 1
    twice = label_file(tmp_path, HEAD, ROW.replace("MyGPU", "NVIDIA_L4"))
    with pytest.raises(InputError, match=r"mine.csv: the cell \(NVIDIA_L4, .*\) is measured already, in scripts"):
        with_label_files(labels, [twice])


def test_a_new_gpu_of_a_label_becomes_a_device_and_other_cells_of_it_are_refused(tmp_path):
    published = PUBLISHED / "end_to_end.csv"
    row = ROW.replace("MyGPU", "NVIDIA_B200")
    found = new_gpus([label_file(tmp_path, HEAD, row)], [], published)
    assert list(found) == ["NVIDIA_B200"]
    assert found["NVIDIA_B200"] == row_of_table(devices()["NVIDIA_B200"], "data/devices")
    assert new_gpus([label_file(tmp_path, HEAD, ROW.replace("MyGPU", "NVIDIA_L4"))], [], published) == {}
    for line, said in (
        (ROW, "the GPU MyGPU is not described anywhere"),
        (row.replace(",4,", ",5,"), "cannot be forecast, the artifact has no graph of it"),
        (row.replace("none", "tp4"), "cannot be forecast"),
    ):
        with pytest.raises(InputError, match=said):
            new_gpus([label_file(tmp_path, HEAD, line)], [], published)
    own = tmp_path / "mine.yaml"
    own.write_text((REPOSITORY / "src/tilecast/data/devices/b200_sxm_180gb.yaml").read_text())
    with pytest.raises(InputError, match="no label needs the device file of"):
        new_gpus([], [own], published)


def test_the_transcription_is_whole():
    labels, predictions = read_published(PUBLISHED / "end_to_end.csv")
    assert (len(labels), len(predictions)) == (149, 620)
    devices = read(PUBLISHED / "devices.csv", DEVICES)
    assert set(labels["device"]) | set(predictions["device"]) == set(devices["device"])


@pytest.mark.skipif("TILECAST_MIRROR" not in os.environ, reason="needs the artifact: TILECAST_MIRROR is not set")
def test_the_transcription_is_what_the_artifact_holds(tmp_path):
    mirror = Path(os.environ["TILECAST_MIRROR"])
    folders = (names.LABELS, names.PREDICTIONS, names.DEVICES, *names.TRAINING_DEVICES)
    lock = read_lock(REPOSITORY / "resources/artifact.lock.tsv")
    entries = [e for e in lock if e.path.startswith(folders) and e.path.endswith(".json")]
    files = dict(mirror_files(mirror, entries))
    write_archive(tmp_path / "a.zip", files.items())
    transcribe(tmp_path / "a.zip", tmp_path)
    for name in ("end_to_end.csv", "devices.csv"):
        assert (tmp_path / name).read_bytes() == (PUBLISHED / name).read_bytes()
    labels = read_published(PUBLISHED / "end_to_end.csv")[0]
    assert (labels["latency_ms"] / read_labels(files)["latency_ms"] - 1).abs().max() < 5.1e-6
