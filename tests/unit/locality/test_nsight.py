"""Recordings made here by the real Nsight Systems, where it is installed: imported, exported, analysed."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tilecast.base.errors import InputError
from tilecast.locality.analysis import analyse, analyse_folder, profiles_in
from tilecast.locality.convert import nsys

NVTX_LIBRARY = "libnvToolsExt.so.1"
NAME = "pipeline_gpu0_numa0_vit32x2x128"


def recorded(folder: Path, name: str, command: list[str]) -> Path:
    """A real recording by Nsight Systems: a report, or what a report is made of.

    Now and then its parts lose each other and it leaves nothing but "End of file": it is then started again.
    """
    profile = [
        str(nsys()), "profile", "--trace=nvtx", "--sample=none", "--cpuctxsw=none", "--force-overwrite=true",
        f"--output={folder / name}",
    ]  # fmt: skip
    said = ""
    for _ in range(3):
        done = subprocess.run([*profile, *command], cwd=folder, capture_output=True, text=True, timeout=300)
        for path in (folder / f"{name}{ending}" for ending in (".nsys-rep", ".qdstrm")):
            if path.is_file():
                return path
        said += done.stdout + done.stderr
    raise AssertionError(said)


def has_nvtx() -> bool:
    """Whether ranges can be marked without CUDA."""
    try:
        ctypes.CDLL(NVTX_LIBRARY)
    except OSError:
        return False
    return True


REAL = [
    pytest.mark.skipif(
        nsys() is None, reason="Nsight Systems is not installed (Debian: nsight-systems, in non-free)"
    ),
    pytest.mark.skipif(not has_nvtx(), reason="NVTX is not installed (Debian: libnvtoolsext1, in non-free)"),
]


def real(test: Any) -> Any:
    """A test with the real tool."""
    return REAL[0](REAL[1](test))


@real
def test_a_real_recording_without_work_on_a_gpu_is_one_line(tmp_path: Path) -> None:
    marks = (
        f"import ctypes, time; l = ctypes.CDLL({NVTX_LIBRARY!r}); l.nvtxRangePushA(b'h2d:1'); l.nvtxRangePop(); "
        "time.sleep(2)"  # nsys loses what has ended before it looks
    )
    with pytest.raises(InputError, match="has no CUDA tables; nothing ran on a GPU"):
        analyse(recorded(tmp_path, NAME, [sys.executable, "-c", marks]))


# The study's worker as it is, but that its ranges go to NVTX without torch's CUDA, which a CPU build lacks.
WORKER = """
import contextlib, ctypes, sys, time, torch
from tilecast.locality import worker
library = ctypes.CDLL(sys.argv[3])
@contextlib.contextmanager
def marked(name):
    library.nvtxRangePushA(name.encode())
    yield
    library.nvtxRangePop()
torch.cuda.nvtx.range = marked
code = worker.main(*sys.argv[1:3])
time.sleep(2)
raise SystemExit(code)
"""


@real
def test_a_real_recording_of_a_studys_run_is_imported_exported_and_analysed(tmp_path: Path) -> None:
    """Three batches of a study's run on the CPU device, recorded and exported by the real Nsight Systems."""
    pytest.importorskip("torch")
    request = {
        "gpu": 0, "cpu_node": 0, "memory_node": 0, "model": "vit32x2x128", "dtype": "fp32", "compiled": False,
        "batch_size": 2, "samples": 6, "warmup": 0, "device": "cpu", "ranges": "nvtx",
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    files = [str(tmp_path / name) for name in ("request.json", "result.json")]
    (folder := tmp_path / "nsys_reports").mkdir()
    report = recorded(folder, NAME, [sys.executable, "-c", WORKER, *files, NVTX_LIBRARY])
    found, drawn = analyse(report, 2)
    assert (found["batches"], found["kernels"], found["h2d_copies"], found["d2h_copies"]) == (3, 3, 3, 3)
    assert (found["h2d_bytes"], found["d2h_bytes"]) == (3 * 2 * 602_112, 3 * 2 * 1000 * 4)
    measured = json.loads((tmp_path / "result.json").read_text())
    assert found["span_ms"] == pytest.approx(1e3 * measured["wall_s"], rel=0.5) and found["overlap_percent"] == 0
    assert {row["stage"] for row in drawn} == {"h2d", "compute", "d2h"}
    (row,) = analyse_folder(profiles_in(folder), 2)
    assert (row["status"], row["cell"], row["batches"]) == ("ok", NAME, 3)
