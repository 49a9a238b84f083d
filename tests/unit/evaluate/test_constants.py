"""Every constant of the predictors is listed with its source, and can be taken out where it says so."""

from pathlib import Path

import pandas as pd
import pytest

from tilecast.base.paths import CHECKOUT
from tilecast.evaluate.ablation import ARGUED, CLEAN, chosen_after, without
from tilecast.evaluate.constants import PAGE, holding, literals, markdown, unexplained
from tilecast.hardware.device_file import load_device
from tilecast.predict.kernel import complete
from tilecast.predict.tilecast import Tilecast

CODE = """
RATE, SHARES = 0.85, {"a": 12.5, "b": (1, 2, 3)}
MEMORY = 4 * 2**30 + 1e9

class Box:
    width: float = 7.5

    def half(self, rows):
        return round(rows[3] * 0.25, 6) + rows[-5:][0] + 1e-3
"""


def test_no_constant_without_a_source_and_no_source_without_a_constant() -> None:
    assert unexplained() == []


def test_a_new_literal_is_found_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(CODE)
    found = {name: sorted(values.elements()) for name, values in literals(file).items()}
    assert found == {
        "RATE": ["0.85"],
        "SHARES": ["12.5", "3"],
        "MEMORY": ["4"],
        "Box.width": ["7.5"],
        "Box.half": ["0.25"],
    }


def test_the_page_of_constants_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "python -m tilecast.evaluate.constants"


def test_a_constant_taken_out_changes_forecasts_meanwhile_and_is_put_back() -> None:
    model, parts = Tilecast.load(), {part["name"]: part for part in chosen_after()}
    assert set(ARGUED) <= set(parts)
    sizes = {"op": "linear", "m": [4096, 64], "n": [4096, 64], "k": [4096, 64]}
    table = complete(pd.DataFrame({"family": "linear", "b": 1, **sizes}))
    vector = complete(pd.DataFrame({"family": "softmax", "op": "softmax", "b": [8192], "m": [2048]}))

    def forecast() -> list[float]:
        found = []
        for name in ("H100", "L4", "T4", "A100-80GB"):
            found += [model.predict(one, load_device(name))["latency_ms"].sum() for one in (table, vector)]
        return found

    shipped = forecast()
    held = {name: without(part) for name, part in parts.items()}
    held |= {f"{name} of the second design": {(module, name): value} for (module, name), value in CLEAN.items()}
    for name, values in held.items():
        with holding(values):
            assert forecast() != pytest.approx(shipped, rel=1e-6), name
        assert forecast() == shipped


def test_readme_says_what_the_headline_rests_on() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    record = pd.read_csv(CHECKOUT / "resources/reference/evaluations.csv")
    first, last = record.iloc[0], record.iloc[-1]
    figures = [f"{row[name]:.1f}" for row in (first, last) for name in ("mape_percent", "unseen_percent")]
    whole = (CHECKOUT / "docs/evidence/accuracy.md").read_text(encoding="utf-8")
    for page in (readme[readme.index("## How good") :], whole):
        words = page[: page.index("Many GPUs, half precision")]
        assert all(figure in words for figure in figures), figures
