"""Locality studies: what they expand to, beside what the guide says; names; what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilecast.base.config import load_config
from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.locality.guide import output_bytes, sample_bytes
from tilecast.locality.study import (
    Cell,
    cells,
    counts,
    load_study,
    manifest,
    parse_name,
    study_names,
    vit,
)
from tilecast.tables.declared.locality import COUNTS, MANIFEST
from tilecast.tables.io import check

# What the guide's lists come to, counted by hand.
DISTINCT = {
    "numa_study": 48, "quick_test": 3, "quick_test_gpus": 12, "scaling_study": 8, "scaling_compile": 16,
    "comprehensive": 96, "locality": 48,
}  # fmt: skip
CLAIMED = {
    ("numa_study", "section 1"): 48, ("quick_test", "quick start"): 12, ("quick_test", "section 2"): 3,
    ("quick_test_gpus", "scenario 2"): 12, ("scaling_study", "quick start"): 36, ("scaling_study", "section 3"): 9,
    ("scaling_compile", "scenario 4"): 18, ("comprehensive", "scenario 5"): 96,
}  # fmt: skip


def test_every_shipped_study_has_as_many_cells_as_counted_by_hand() -> None:
    assert {name: len(cells(load_study(name))[0]) for name in study_names()} == DISTINCT


def test_counts_stand_beside_the_guides_own() -> None:
    rows = counts({name: load_study(name) for name in study_names()})
    assert {(row["study"], row["place"]): row["claimed"] for row in rows if row["place"]} == CLAIMED
    check(pd.DataFrame(rows), COUNTS, "counts")
    scaling = next(row for row in rows if row["study"] == "scaling_study")
    assert (scaling["listed"], scaling["cells"]) == (9, 8)
    again = "pipeline_gpu0_numa0_vit32x6x512 (listed in width, already in depth)"
    assert scaling["rejected"] == again
    compiled = next(row for row in rows if row["study"] == "scaling_compile")
    assert compiled["rejected"] == f"{again.replace(' ', '_compiled ', 1)}, {again}"


def test_a_manifest_runs_every_cell_once_a_block_in_an_order_of_its_own() -> None:
    study = load_study("numa_study")
    rows = manifest("numa_study", study)
    check(pd.DataFrame(rows), MANIFEST, "manifest")
    assert Counter(row["cell"] for row in rows) == {cell.name: 5 for cell in cells(study)[0]}
    blocks = [[row["cell"] for row in rows if row["repetition"] == number] for number in range(1, 6)]
    assert all(sorted(block) == sorted(blocks[0]) for block in blocks)
    assert len({tuple(block) for block in blocks}) == 5
    assert rows == manifest("numa_study", study)
    assert [row["repetition"] for row in rows] == sorted(row["repetition"] for row in rows)


def test_crossed_binding_varies_cpu_and_memory_independently() -> None:
    study = load_study("quick_test", {"nodes": [0, 1], "binding": "crossed", "models": ["vit0x0x0"]})
    pairs = {(cell.cpu_node, cell.memory_node) for cell in cells(study)[0]}
    assert pairs == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_overrides_replace_lists_and_numbers() -> None:
    settings = load_config({"numa": {"gpus": [0, 3], "samples": 500, "compiled": [True, False], "batch_size": 20}})
    study = load_study("numa_study", settings.numa.overrides())
    assert len(cells(study)[0]) == 2 * 2 * 6 * 2
    assert (study.samples, study.batch_size, study.warmup) == (500, 20, 100)


@given(
    st.builds(
        Cell,
        gpu=st.integers(0, 15),
        cpu_node=st.integers(0, 15),
        memory_node=st.integers(0, 15),
        model=st.sampled_from(["vit0x0x0", "vit32x2x128", "vit16x12x1024"]),
        dtype=st.sampled_from(["fp32", "bf16"]),
        compiled=st.booleans(),
    )
)
def test_a_name_says_its_cell(cell: Cell) -> None:
    assert parse_name(cell.name) == cell


def test_the_guides_names_are_kept() -> None:
    assert Cell(3, 2, 2, "vit16x12x1024").name == "pipeline_gpu3_numa2_vit16x12x1024"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "pipeline",
        "pipeline_gpu0_vit32x2x128",
        "pipeline_gpu0_numa0_vit32x2",
        "pipeline_gpu0_numa0_vit32x2x128x",
    ],
)
def test_a_name_that_does_not_parse_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="the name does not parse; expected pipeline_gpu"):
        parse_name(name, "a.sqlite")


def test_an_images_bytes_and_a_results() -> None:
    assert (sample_bytes("fp32"), sample_bytes("bf16")) == (602_112, 301_056)
    assert output_bytes("vit0x0x0", "fp32") == 602_112  # the no-op's output is its input
    assert output_bytes("vit32x2x128", "bf16") == 2000


def test_heads_are_the_widths_unless_the_study_says_otherwise() -> None:
    plain, quick = vit("vit32x2x256"), vit("vit32x2x256", 4)
    assert plain is not None and quick is not None
    assert (plain.values["num_attention_heads"], quick.values["num_attention_heads"]) == (8, 4)
    assert vit("vit0x0x0") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ["vit32"]}, "vit32: does not parse"),
        ({"models": ["vit33x2x128"]}, "vit33x2x128: is no model"),
        ({"nodes": [-1]}, "numa: `nodes.0` = -1: Input should be greater than or equal to 0"),
        ({"nodes": [0, 0]}, "numa: `nodes` = [0, 0]: 0 is listed twice; list it once"),
        ({"gpus": [3, 1, 3]}, "numa: `gpus` = [3, 1, 3]: 3 is listed twice"),
        (
            {"models": ["vit0x0x0", "vit0x0x0"]},
            "numa: `models` = ['vit0x0x0', 'vit0x0x0']: vit0x0x0 is listed twice",
        ),
        (
            {"models": {"a": ["vit0x0x0"], "b": ["vit0x0x0", "vit0x0x0"]}},
            "numa: `models`: vit0x0x0 is listed twice",
        ),
        ({"models": {"a": []}}, "numa: `models.a` = []: List should have at least 1 item"),
        ({"models": "vit0x0x0"}, "numa: `models` = 'vit0x0x0': should be a list of models"),
        ({"compiled": [True, True]}, "numa: `compiled` = [True, True]: true is listed twice"),
    ],
)
def test_an_override_that_cannot_be_is_one_line(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        load_study("quick_test", change)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_options_come_as_text_from_the_command_line() -> None:
    given = {"nodes": ["0", "63"], "compiled": ["true", "false"], "resume": "false", "samples": "5"}
    numa = load_config({"numa": given}).numa
    assert numa.overrides() == {"nodes": [0, 63], "compiled": [True, False], "samples": 5} and not numa.resume
    with pytest.raises(InputError, match=r"unknown key `numa\.sample`"):
        load_config({"numa": {"sample": 3}})


def test_a_study_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: mine\ngpus: [0]\nnodes: [0]\nmodels: [vit0x0x0]\nsample: 3\n")
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key `sample`"):
        load_study(tmp_path / "mine.yaml")
    with pytest.raises(InputError, match="nope: is not a known study"):
        load_study("nope")
    with pytest.raises(InputError, match="does not exist"):
        load_study(tmp_path / "absent.yaml")


def test_the_command_lists_the_cells(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["numa", "plan", "scaling_study", "--output", str(tmp_path / "manifest.csv")]) == 0
    said = capsys.readouterr()
    assert len(said.out.split()) == 8 and "8 cells, 5 repetitions" in said.err
    assert "rejected: pipeline_gpu0_numa0_vit32x6x512 (listed in width, already in depth)" in said.err
    assert len((tmp_path / "manifest.csv").read_text().splitlines()) == 41
    assert main(["numa", "plan", "nope"]) == 1
    assert capsys.readouterr().err.startswith("tilecast: error: nope: is not a known study")
