"""A first test on each interpreter that this machine has, in an environment of its own made from the lock."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import lock
import pytest
from copies import Copy, copy_files


@pytest.mark.exhaustive
@pytest.mark.skipif(bool(os.environ.get("PIP_NO_INDEX")), reason="PIP_NO_INDEX is set: nothing can be installed")
@pytest.mark.parametrize("python", lock.PYTHONS)
def test_the_lock_installs_and_the_package_works(python: str, tmp_path: Path) -> None:
    """`make basic-test` of a fresh copy: packages as pinned, forecasts, a small run from nothing, its verdicts."""
    name = f"python{python}"
    asked = subprocess.run(
        ["sh", "-c", f"{name} -c 'import sys; print(sys.executable)'"], capture_output=True, text=True
    )
    if asked.returncode:
        pytest.skip(f"{name} is not here")
    copy_files(tmp_path)
    fresh = {"PIP_NO_INDEX": "", "PYTHONPATH": "", "VIRTUAL_ENV": ""}
    Copy(tmp_path).run(["make", "basic-test", f"PYTHON={asked.stdout.strip()}"], **fresh)
    assert (tmp_path / f".venv/bin/{name}").exists()
