"""A figure is one module: its file is read without importing it, and adding it adds the figure to the workflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from copies import Copy

from tilecast.base.errors import InputError
from tilecast.present.figures.catalog import FOLDER, Figure, figures

MODULE = '''"""What it shows,
in two lines."""

import a_package_that_nobody_has

TABLES = {"results/evaluation/errors.csv": "evaluation.errors", "results/modern/sizes.csv": "half_precision.sizes"}
GROUP, TITLE, ORDER = "Mine", "My figure", 5


def draw(errors, sizes):
    return errors
'''

PAPER = '''"""My table."""

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
NAMES, ORDER = ("mine",), 5


def tables(errors):
    return []
'''


def test_a_module_is_read_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "shared.py").write_text("COLOUR = 'red'\n")
    (tmp_path / "later.py").write_text(MODULE.replace("5", "6\nPARAMS = ('focus',)"))
    tables = {
        "results/evaluation/errors.csv": "evaluation.errors",
        "results/modern/sizes.csv": "half_precision.sizes",
    }
    mine = Figure("mine", tables, "Mine", "My figure", "What it shows, in two lines.", 5)
    found = figures(tmp_path)
    assert found[0] == mine and [figure.name for figure in found] == ["mine", "later"]
    assert found[1].params == ("focus",)
    assert mine.reads("results/modern") and not mine.reads("results/measure")
    assert mine.files()["data"] == "results/figures/mine.csv"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("GROUP, TITLE, ORDER", "TITLE, TITLE, ORDER", "GROUP is missing or not a literal str"),
        (", 5", ", 'first'", "ORDER is missing or not a literal int"),
        ('"My figure"', "name()", "one of TABLES, GROUP, TITLE, ORDER is not a literal"),
        ("import a_package", "import a package", "line 4 is no Python"),
        ("def draw", "def paint", "has no docstring or no function `draw`"),
    ],
)
def test_what_a_figure_lacks_is_said(old: str, new: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE.replace(old, new))
    with pytest.raises(InputError, match=f"mine.py: {problem}"):
        figures(tmp_path)


def test_every_module_that_draws_is_a_figure() -> None:
    drawing = {path.stem for path in FOLDER.glob("*.py") if "\ndef draw(" in path.read_text()}
    assert {figure.name for figure in figures()} == drawing
    assert len({figure.order for figure in figures()}) == len(drawing)


def test_the_catalog_loads_no_drawing_library() -> None:
    program = "import sys, tilecast.present.figures.catalog as c; c.figures(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"matplotlib", "pandas", "numpy"} & set(loaded.split())


@pytest.mark.slow
def test_one_new_file_is_a_new_figure_or_paper_table_of_the_workflow(workflow_copy: Copy) -> None:
    (workflow_copy.root / "src/tilecast/present/figures/mine.py").write_text(MODULE)
    (workflow_copy.root / "src/tilecast/present/paper/mine.py").write_text(PAPER)
    run = workflow_copy.snakemake("--dry-run", "--quiet", "rules", "all")
    assert {"plot_fusion", "plot_mine", "table_mape", "table_mine"} <= set(run.output.split())


STATISTICS = {"mean", "median", "quantile", "percentile", "std", "var", "corr", "agg"}


@pytest.mark.parametrize("figure", figures(), ids=lambda figure: figure.name)
def test_drawing_computes_no_statistics(figure: Figure) -> None:
    """They are functions of `evaluate`, or of the module: those have names of their own."""
    functions = [
        statement
        for statement in ast.parse((FOLDER / f"{figure.name}.py").read_text()).body
        if isinstance(statement, ast.FunctionDef)
    ]
    for function in functions:
        called = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        if function.name == "draw" or function.name.startswith("_"):
            assert not called & STATISTICS, function.name
    assert "_finding" in {function.name for function in functions}
