"""The expert-parallel study: as published to the digits printed, as physics allows, and what is written of it."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tilecast.base.errors import InputError
from tilecast.evaluate.experts import all_to_all, all_to_all_errors, anchors
from tilecast.moe.names import figure_names, focus_of
from tilecast.moe.overlap import main as overlap_main
from tilecast.moe.overlap import measure
from tilecast.moe.placement import spreads
from tilecast.moe.sensitivity import FACTORS, pair, tornado, where_it_wins
from tilecast.moe.study import Study, load_study
from tilecast.moe.tables import layouts_table, models_table, systems_table
from tilecast.moe.text import log, number, paragraph, summary
from tilecast.present.figures import moe as pictures
from tilecast.present.figures import moe_cross_system, moe_tornado, moe_validation, moe_where
from tilecast.present.paper.moe import table as paper_table
from tilecast.tables.declared.moe import ALLTOALL_MEASUREMENTS, SYSTEMS
from tilecast.tables.io import check, read

ROOT = Path(__file__).resolve().parents[3]
STUDY = ROOT / "config/studies/moe_prefetch.yaml"

# What the original printed for its hybrids: tokens/s, speedup, communication, $ per 1M tokens, saving in 1,000 $.
PRINTED = {
    "2xA100": ("200", "800", "4.00", None, None, "8.33", "2.08", "75"),
    "4xH100": ("105.9", "679.2", "6.42", "47.1", "15.1", "41.98", "6.54", "425"),
    "8xA100": ("171.4", "1263.2", "7.37", "57.1", "21.1", "38.89", "5.28", "403"),
    "10xA6000": ("61.4", "823.5", "13.4", "87.7", "58.8", "67.86", "5.06", "754"),
}
COLUMNS = (
    "baseline_tokens_per_s", "prophet_tokens_per_s", "speedup", "baseline_communication_percent",
    "prophet_communication_percent", "baseline_usd_per_million_tokens", "prophet_usd_per_million_tokens",
    "saving_usd_per_year",
)  # fmt: skip


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY)


@pytest.fixture(scope="module")
def systems(study: Study) -> pd.DataFrame:
    return check(systems_table(study), SYSTEMS, "test")


@pytest.mark.parametrize("system", PRINTED)
@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_as_published_gives_what_the_original_printed(systems: pd.DataFrame, system: str, column: int) -> None:
    printed = PRINTED[system][column]
    rows = systems[(systems["mode"] == "as_published") & (systems["strategy"] == "hybrid")]
    value = float(rows.set_index("system").loc[system, COLUMNS[column]])
    if printed is None:
        assert value == 0  # "no communication"
        return
    value /= 1000 if COLUMNS[column].startswith("saving") else 1
    digits = len(printed.partition(".")[2])
    # within 0.1 %, or no further off than the last digit printed was rounded
    assert abs(value - float(printed)) <= max(0.001 * float(printed), 0.5 * 10**-digits)


def test_physical_verdicts(systems: pd.DataFrame) -> None:
    physical = systems[systems["mode"] == "physical"].set_index(["system", "strategy"])
    verdicts = physical["verdict"].to_dict()
    resident = {key for key, verdict in verdicts.items() if verdict == "resident"}
    assert resident == {("4xH100", "expert_parallel"), ("8xA100", "expert_parallel")}
    assert verdicts["10xA6000", "expert_parallel"] == "impossible"
    assert "12.8 each" in physical.loc[("10xA6000", "expert_parallel"), "reason"]
    assert (physical.loc[list(resident), "speedup"] == 1).all()
    assert (physical["speedup"].dropna() <= 2).all()
    alone = physical.xs("data_parallel", level="strategy")
    assert (alone["communicated_bytes_per_token"] == 0).all() and (
        alone["baseline_communication_percent"] == 0
    ).all()
    rows = physical.dropna(subset=["speedup"])
    million = rows["baseline_usd_per_million_tokens"] * rows["baseline_tokens_per_s"] * 0.0036
    assert (million.round(6) == rows["gpus"] * rows.index.get_level_values(0).map(_price)).all()


def _price(system: str) -> float:
    entries = yaml.safe_load(STUDY.read_text())["systems"]
    return float(next(entry["usd_per_gpu_hour"] for entry in entries if entry["name"] == system))


def test_cost_and_saving_are_one_price(systems: pd.DataFrame) -> None:
    rows = systems.dropna(subset=["speedup"])
    ratio = rows["baseline_usd_per_million_tokens"] / rows["prophet_usd_per_million_tokens"]
    assert ratio.to_numpy() == pytest.approx(rows["speedup"].to_numpy())
    kept = (rows["baseline_clusters"] - rows["prophet_clusters"]) * 12 * 730
    prices = rows["gpus"] * rows["system"].map(_price)
    assert rows["reserved_saving_usd_per_year"].to_numpy() == pytest.approx((kept * prices).to_numpy())


def test_a_study_that_nothing_can_run_still_makes_whole_tables(study: Study) -> None:
    given = study.physical.model_copy(update={"host_bytes_per_gpu": 0.0, "reserved_bytes": 80e9})
    full = study.model_copy(update={"physical": given})
    table = check(systems_table(full), SYSTEMS, "test")
    assert set(table.loc[table["mode"] == "physical", "verdict"]) == {"impossible"}
    assert layouts_table(full)["baseline_tokens_per_s"].isna().all()
    assert models_table(full)["speedup"].isna().all()


def test_every_layout_uses_every_gpu(study: Study) -> None:
    for gpus in (1, 2, 8, 10):
        found = list(spreads(gpus))
        assert len(found) == len(set(found)) and all(spread.gpus == gpus for spread in found)
    table = layouts_table(study)
    assert set(table["system"]) == set(PRINTED)
    eight = table[table["system"] == "8xA100"]
    assert len(eight) == 10 and (eight["tensor_parallel"] > 1).sum() == 6
    rates = eight["baseline_tokens_per_s"].dropna()
    assert list(rates) == sorted(rates, reverse=True)


def test_real_models(study: Study) -> None:
    table = models_table(study)
    assert table["model"].nunique() == 5 and len(table) == 5 * 4 * 3
    eight = table[(table["system"] == "8xA100") & (table["strategy"] == "expert_parallel")].set_index("model")
    assert eight.loc["Qwen3-30B-A3B", "communicated_bytes_per_token"] == 2752512
    assert eight.loc["Mixtral-8x7B", "verdict"] == "resident"


def changed(path: Path, **edits: object) -> Path:
    """The study with keys replaced, such as published__accuracy=1.2; None removes a key."""
    content = yaml.safe_load(STUDY.read_text())
    for key, value in edits.items():
        *parents, last = key.split("__")
        where = content
        for parent in parents:
            where = where[int(parent)] if parent.isdigit() else where[parent]
        if value is None:
            del where[last]
        else:
            where[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"published__experts": 130}, "`like`: qwen3_235b_a22b has 128 experts; the study has 130"),
        (
            {"systems__3__hybrid": {"replicas": 1, "expert_parallel": 10}},
            r"system 10xA6000: 128 experts do not divide among 10 GPUs \(12.8 each\)",
        ),
        ({"systems__3__hybrid": {"replicas": 3, "expert_parallel": 2}}, "3 replicas of 2 GPUs are not 10 GPUs"),
        ({"published__accuracy": 1.2}, "`published.accuracy` = 1.2: Input should be less than or equal to 1"),
        ({"physical__recall": -0.1}, "`physical.recall` = -0.1"),
        ({"systems__2__usd_per_gpu_hour": None}, "system 8xA100: `usd_per_gpu_hour` is missing"),
        ({"systems__2__usd_per_gpu_hour": 0.0}, "system 8xA100: `usd_per_gpu_hour` = 0.0"),
        ({"published__expert_bytes": 1.0e13}, "system 2xA100: one expert of 128 experts is 106 GB, a GPU has"),
        ({"systems__0__gpus": 16, "systems__0__hybrid": {"replicas": 8, "expert_parallel": 2},
          "systems__0__published_hybrid": None}, "2xA100: 16 GPUs; a100_sxm has 8"),
        ({"systems__0__system": "nowhere"}, "nowhere: is not a known system"),
        ({"systems__0__device": "GTX"}, "GTX: is not a known device"),
        ({"physical__models": ["bert_large"]}, "does not describe a mixture of experts"),
        ({"physical__routing": "random"}, "routing: 'random' is not known"),
        ({"focus": "9xB200"}, "`focus` = '9xB200' is not one of its systems"),
        ({"systems__1__name": "2xA100"}, "two systems have one name"),
        ({"oops": 1}, "unknown key `oops`"),
        ({"title": None}, "`title` is missing"),
    ],
)  # fmt: skip
def test_a_wrong_study_is_one_line(tmp_path: Path, edits: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_study(changed(tmp_path / "study.yaml", **edits))
    assert "\n" not in str(caught.value)


def test_names_for_files(tmp_path: Path) -> None:
    assert figure_names(STUDY) == {"2xA100": "2gpu", "4xH100": "4gpu", "8xA100": "8gpu", "10xA6000": "10gpu"}
    assert focus_of(STUDY) == "8xA100"
    twice = changed(tmp_path / "twice.yaml", systems__1__gpus=2)
    assert list(figure_names(twice).values())[:2] == ["2xA100", "4xH100"]
    for name, edits in (
        ("slash", {"systems__0__name": "a/b"}),
        ("none", {"systems": []}),
        ("text", {"systems": "x"}),
    ):
        with pytest.raises(InputError):
            figure_names(changed(tmp_path / f"{name}.yaml", **edits))
    with pytest.raises(InputError, match="does not exist"):
        figure_names(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="names no `focus`"):
        focus_of(changed(tmp_path / "unfocused.yaml", focus=None))


def test_sensitivity_and_map(study: Study) -> None:
    system = study.system("8xA100")
    bars = tornado(study, system)
    assert list(bars["factor"]) == ["study", *(name for name in FACTORS for _ in range(2))]
    speeds = bars.set_index(["factor", "value"])["speedup"]
    assert speeds["accuracy", 1.0] > speeds["accuracy", 0.5]
    table = where_it_wins(study, system)
    assert 0.5 < table["speedup"].min() < 1 < table["speedup"].max() < 2
    assert (table["prophet_tokens_per_s"] > 0).all()
    base, prophet = pair(study, system, hit_rate=1.0)
    assert prophet.tokens_per_s == base.tokens_per_s  # nothing is missed
    with pytest.raises(InputError, match="the host has"):
        small = study.model_copy(
            update={"physical": study.physical.model_copy(update={"host_bytes_per_gpu": 0.0})}
        )
        pair(small, system)


@pytest.fixture(scope="module")
def exchanges() -> pd.DataFrame:
    return all_to_all(read(ROOT / "resources/published/moe_alltoall.csv", ALLTOALL_MEASUREMENTS))


def test_words(systems: pd.DataFrame, exchanges: pd.DataFrame) -> None:
    text = summary(systems, "10xA6000")
    assert "| Physical | Expert Parallel | EP10 | impossible | none | none |" in text
    assert "12.8 each, no whole number" in text
    ended = log(systems, "a title", ["SUMMARY_8xA100.md"]).splitlines()
    assert ended[-1] == "ANALYSIS COMPLETED SUCCESSFULLY: 24 strategies analysed, 1 cannot run"
    assert sum(line.startswith("WARNING") for line in ended) == 1
    words = paragraph(ROOT / "report/paper/moe.tex.j2", systems, all_to_all_errors(exchanges), "8xA100")
    assert "171 tokens/s" in words and "1,263 tokens/s" in words and r"\$38.9" in words
    assert "<<" not in words and "none" not in words and "nan" not in words
    fitting = paragraph(ROOT / "report/paper/moe.tex.j2", systems, all_to_all_errors(exchanges), "10xA6000")
    assert "Pure expert parallelism" not in fitting
    assert [number(value) for value in (None, math.nan, 0.0, 0.8872, 28.75, 403333.3, -12.0)] == [
        "none", "none", "0", "0.887", "28.8", "403,333", "-12.0",
    ]  # fmt: skip


def test_the_table_for_a_paper(systems: pd.DataFrame) -> None:
    made = paper_table(systems)
    assert len(made.rows) == 24
    impossible = next(row for row in made.rows if row["experts"] == "impossible")
    assert impossible["baseline"] == "cannot run"


def test_pictures(study: Study, systems: pd.DataFrame, exchanges: pd.DataFrame) -> None:
    system = study.system(study.focus)
    across = moe_cross_system.draw(systems)
    assert "gains in 0 of 12 cases" in across.title and across.n == 24
    assert moe_where.draw(where_it_wins(study, system), system.name).n == 432
    assert "matters most" in moe_tornado.draw(tornado(study, system), system.name).title
    given = study.physical
    ends = anchors(ROOT / "resources/published/moe_anchors.yaml", given.shares, given.reserved_bytes)
    assert "over NVLink" in moe_validation.draw(exchanges, ends).title
    for kind in pictures.KINDS:
        assert len(pictures.one_system(systems, "10xA6000", kind).axes) == 2


def test_overlap_is_measured_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("tilecast.moe.overlap.REPEATS", 1)
    monkeypatch.setattr("tilecast.moe.overlap.RATIOS", (0.5, 2.0))
    monkeypatch.setitem(__import__("tilecast.moe.overlap").moe.overlap.MATRIX, "cpu", 128)
    found = measure("cpu")
    assert len(found) == 2 and (found["both_ms"] > 0).all()
    expected = (found["copy_ms"] - found["compute_ms"]).clip(lower=0)
    assert found["formula_exposed_ms"].to_numpy() == pytest.approx(expected.to_numpy(), abs=2e-4)
    assert overlap_main(["--device", "tpu", "--output", str(tmp_path / "a.csv")]) == 1
