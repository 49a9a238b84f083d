"""Predictors by name: an author's own is loaded from a file, or refused in one line before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilecast.base.errors import InputError
from tilecast.predict.registry import check_own, source_file

OWN = """
from tilecast.predict.kernel import complete, forecast_frame

class Mine:
    name = "mine"

    def predict(self, kernels, device):
        frame = complete(kernels)
        return forecast_frame(frame, frame["bytes_written"] / device.bandwidth_bytes_per_s * 1e3, "bandwidth")

class Broken(Mine):
    def predict(self, kernels, device):
        return kernels["latency"]
"""


def test_an_authors_predictor_is_a_file_and_a_class_in_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert source_file(f"{path}:Mine") == path
    assert source_file("tilecast.predict.registry:X").name == "registry.py"
    check_own({"mine": f"{path}:Mine"})
    for name, where, problem in (
        ("tilecast", f"{path}:Mine", "the name is taken"),
        ("mine", f"{path}:Broken", "cannot be loaded"),
        ("other", f"{path}:Mine", "the class names itself"),
        ("mine", f"{tmp_path}/none.py:Mine", "does not exist"),
        ("mine", "no.such.module:Mine", "no module no.such.module is installed"),
    ):
        with pytest.raises(InputError, match=problem):
            check_own({name: where})
