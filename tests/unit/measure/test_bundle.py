"""Bundles: the same bytes for the same results; every kind of tampering is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.measure.bundle import CRATE, MANIFEST, collect, devices_of, import_measured, make, verify
from tilecast.measure.grid import grid
from tilecast.measure.store import Run
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.io import write

CELL = {"device": "NVIDIA_H100_80GB_HBM3", "model": "gpt2_large", "sequence_length": 1024, "batch_size": 4}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and one measured device, small."""
    root = tmp_path_factory.mktemp("bundle") / "results"
    rows = [
        CELL | {"predictor": "tilecast", "mode": mode, "option": option, "measured_ms": 10.0, "predicted_ms": 11.0,
                "ape_percent": 10.0, "distribution": "out"}
        for mode, option in (
            ("inference", "none"), ("inference", "fusion"), ("training", "dp4"), ("training", "tp4"),
            ("training", "pp4_1"),
        )
    ]  # fmt: skip
    write(pd.DataFrame(rows), root / "evaluation/errors.csv", ERRORS)
    device = root / "measured/CPU_x"
    device.mkdir(parents=True)
    (device / "description.json").write_text('{"name": "CPU_x", "title": "x"}')
    backend: Any = SimpleNamespace(name="CPU_x", title="x", facts=dict)
    run = Run(backend, device, "kernels", {})
    for row in grid(["fp32"], ["softmax"], each=3).to_dict("records"):
        run.add({str(k): v for k, v in row.items()} | {"latency_ms": 1.0, "low_ms": 1.0, "high_ms": 1.0,
                                                       "repetitions": 5, "outcome": "measured"})  # fmt: skip
    run.save("complete")
    (device / "notes.txt").write_text("private")
    return root


@pytest.fixture
def bundle(results: Path, tmp_path: Path) -> Path:
    path = tmp_path / "b.tar.gz"
    make(collect(results, {"live": results / "measured"}), path)
    return path


def test_it_holds_the_names_asked_for_and_nothing_private(bundle: Path) -> None:
    names = set(verify(bundle))
    assert {"artifact_validation/errors.csv", "fusion_gpt2_large.json", MANIFEST, CRATE} <= names
    assert {f"parallel_{layout}.json" for layout in ("dp4", "tp4", "pp4")} <= names
    assert {"measured/CPU_x/kernels-001.parquet", "measured/CPU_x/kernels-001.json"} <= names
    assert not any("notes" in name for name in names)
    fused = json.loads(verify(bundle)["fusion_gpt2_large.json"])["rows"]
    assert [row["option"] for row in fused] == ["none", "fusion"]


def test_the_same_results_give_the_same_bytes(results: Path, bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(results, elsewhere)
    make(collect(elsewhere, {"live": elsewhere / "measured"}), tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == bundle.read_bytes()
    with tarfile.open(bundle) as archive:
        assert {(one.mtime, one.uid, one.uname, one.mode) for one in archive} == {(0, 0, "", 0o644)}
        assert archive.getnames() == sorted(archive.getnames())


def test_its_metadata_is_ro_crate_and_names_every_file(bundle: Path) -> None:
    files = verify(bundle)
    graph = {entry["@id"]: entry for entry in json.loads(files[CRATE])["@graph"]}
    assert graph[CRATE]["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
    for name in set(files) - {CRATE, MANIFEST}:
        assert graph[name]["sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert {"@id": name} in graph["./"]["hasPart"]


def packed(path: Path, files: dict[str, bytes], more: Callable[[tarfile.TarFile], None] | None = None) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if more:
            more(archive)


def summed(files: dict[str, bytes]) -> dict[str, bytes]:
    """A manifest that fits the files, as somebody who tampers would write it."""
    rest = {name: data for name, data in files.items() if name != MANIFEST}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in rest.items()]
    return rest | {MANIFEST: "".join(lines).encode()}


def link(archive: tarfile.TarFile) -> None:
    entry = tarfile.TarInfo("measured/link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive.addfile(entry)


TAMPERED: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "changed": (lambda f: f | {"parallel_dp4.json": b"{}"}, "parallel_dp4.json was changed"),
    "removed": (
        lambda f: {k: v for k, v in f.items() if "dp4" not in k},
        "parallel_dp4.json is missing",
    ),
    "added": (lambda f: f | {"extra.json": b"{}"}, "extra.json is not in its manifest"),
    "no manifest": (lambda f: {k: v for k, v in f.items() if k != MANIFEST}, f"has no {MANIFEST}"),
    "odd manifest": (lambda f: f | {MANIFEST: b"hello\n"}, "line 1: is not"),
    "unlisted in the crate": (lambda f: summed(f | {"extra.json": b"{}"}), "does not list its files"),
    "foreign measurement": (
        lambda f: summed(f | {"measured/CPU_x/kernels-001.parquet": b"no parquet"}),
        "measured/CPU_x/kernels-001.parquet",
    ),
    "outside": (lambda f: summed(f | {"../outside.json": b"{}"}), "not a plain file inside it"),
    "absolute": (lambda f: summed(f | {"/tmp/outside.json": b"{}"}), "not a plain file inside it"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_bundle_is_refused(
    bundle: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = TAMPERED[how]
    path = tmp_path / "tampered.tar.gz"
    packed(path, change(verify(bundle)))
    assert main(["bundle", "verify", str(path)]) == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert main(["import", str(path), "--into", str(tmp_path / "kept")]) == 1
    assert not (tmp_path / "kept").exists()


def test_a_device_both_kept_and_measured_here_is_in_it_twice(results: Path, tmp_path: Path) -> None:
    roots = {"replayed": results / "measured", "live": results / "measured"}
    make(collect(results, roots), tmp_path / "b.tar.gz")
    assert devices_of(verify(tmp_path / "b.tar.gz")) == ["CPU_x", "CPU_x.live"]


def test_links_and_broken_archives_are_refused(bundle: Path, tmp_path: Path) -> None:
    packed(tmp_path / "link.tar.gz", verify(bundle), link)
    (tmp_path / "cut.tar.gz").write_bytes(bundle.read_bytes()[:-200])
    (tmp_path / "text.tar.gz").write_text("hello")
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(b"\0" * 100_000)[:50])
    os.mkfifo(tmp_path / "pipe.tar.gz")
    for name in ("link", "cut", "text", "bomb", "absent", "pipe"):
        with pytest.raises(InputError):
            verify(tmp_path / f"{name}.tar.gz")


def test_import_adds_once_and_never_changes_what_is_there(bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert len(import_measured(bundle, kept)) == 3
    assert import_measured(bundle, kept) == []
    (kept / "CPU_x/description.json").write_text("{}")
    with pytest.raises(InputError, match="differs from the bundle's"):
        import_measured(bundle, kept)
    assert (kept / "CPU_x/description.json").read_text() == "{}"


def test_without_results_there_is_nothing_to_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "make", "--results", str(tmp_path)]) == 1
    assert "run the workflow first" in capsys.readouterr().err
