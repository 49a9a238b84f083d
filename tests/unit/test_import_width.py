"""No script of the workflow loads a large package that nothing it can reach uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import ROOT
from imports import reached, third_party

LARGE = {
    "jinja2",
    "matplotlib",
    "pandas",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "seaborn",
    "torch",
    "transformers",
    "typst",
}
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_large_packages_are_loaded_by_those_who_use_them(script: Path) -> None:
    """Where this fails: import it in the function that needs it, or move that function to a module of its own."""
    assert third_party(script) & LARGE - reached(script) == set()


@pytest.mark.parametrize(
    ("step", "idle"),
    [
        ("from tilecast.helper import plain\nplain()\n", {"torch", "pandas"}),
        ("from tilecast import helper\nhelper.fast()\n", {"pandas"}),
        ("from tilecast.helper import Table\ndef main(): Table().write()\n", {"torch"}),
        (
            "import torch, pandas\nfrom tilecast.helper import fast, Table\ndef f(x: pandas.X): Table(fast())\n",
            set(),
        ),
        ("import torch\ndef f(x: torch.Tensor) -> None: ...\n", {"torch"}),
    ],
)
def test_an_import_that_nothing_reaches_is_noticed(step: str, idle: set[str], tmp_path: Path) -> None:
    helper = (
        "import torch\nimport pandas as pd\ndef plain(): return 1\ndef fast(): return _deep()\n"
        "def _deep(): return torch.ones(1)\nclass Table:\n    def write(self): pd.concat([])\n"
    )
    (tmp_path / "tilecast").mkdir()
    (tmp_path / "tilecast/helper.py").write_text(helper)
    (tmp_path / "step.py").write_text(step)
    script = tmp_path / "step.py"
    assert third_party(script, tmp_path) - reached(script, tmp_path) == idle
