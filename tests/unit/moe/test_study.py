"""The expert-parallel study: as published to the digits printed, as physics allows, and what is written of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_tables import write_rows

from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.evaluate.experts import all_to_all, all_to_all_errors
from tilecast.graph.routing import Routing
from tilecast.moe.names import figure_names, focus_of
from tilecast.moe.offload import ON_DEMAND
from tilecast.moe.overlap import main as overlap_main
from tilecast.moe.overlap import measure
from tilecast.moe.sensitivity import FACTORS, tornado, where_it_pays
from tilecast.moe.step import spreads
from tilecast.moe.study import Inputs, Study, load_study
from tilecast.moe.tables import layouts_table, models_table, systems_table
from tilecast.moe.text import log, number, paragraph, summary
from tilecast.present.figures import moe as pictures
from tilecast.present.figures import moe_cross_system, moe_tornado, moe_validation, moe_where
from tilecast.present.paper.moe import table as paper_table
from tilecast.tables.declared.moe import ALLTOALL_MEASUREMENTS, ANCHORS, GAINS, SYSTEMS, WHERE
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
    """The shipped study, of what it leaves open two inputs, of real models one."""
    pytest.importorskip("torch")
    found = load_study(STUDY)
    given = found.physical.changed(
        "test", unstated={"recall": [0.5], "memory": ["pageable"]}, models=["mixtral_8x7b"]
    )
    return found.model_copy(update={"physical": given})


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
    assert "128 experts do not divide by ep 10" in physical.loc[("10xA6000", "expert_parallel"), "reason"]
    assert (physical.loc[list(resident), "speedup"] == 1).all()
    ran = physical.dropna(subset=["speedup"])
    assert ((ran["speedup_low"] <= ran["speedup"]) & (ran["speedup"] <= ran["speedup_high"])).all()
    offloaded = ran[ran["verdict"] == "offloaded"]
    assert (offloaded["speedup_low"] < offloaded["speedup_high"]).all()
    assert (offloaded["prophet_hit_percent"] >= offloaded["hit_percent"]).all()  # prefetching changes who is there
    alone = physical.xs("data_parallel", level="strategy")
    assert (alone["communicated_bytes_per_token"] == 0).all() and (
        alone["baseline_communication_percent"] == 0
    ).all()
    rows = physical.dropna(subset=["speedup"])
    million = rows["baseline_usd_per_million_tokens"] * rows["baseline_tokens_per_s"] * 0.0036
    assert (million.round(6) == rows["gpus"] * rows.index.get_level_values(0).map(_price)).all()


def test_inputs_that_a_study_leaves_out_fetch_nothing_ahead() -> None:
    left_out = Inputs().serving
    assert left_out.predictor == ON_DEMAND and left_out.predictor.recall == 0
    assert (left_out.reuse, left_out.routing, left_out.whole_layers) == (0, Routing(), False)


def test_where_nothing_is_left_open_both_ends_are_the_forecast(study: Study) -> None:
    closed = study.model_copy(update={"physical": study.physical.changed("test", unstated={})})
    row = systems_table(closed).set_index(["mode", "system", "strategy"]).loc["physical", "2xA100", "hybrid"]
    assert row["verdict"] == "offloaded" and row["speedup"] > 1
    for name in ("speedup{}", "baseline_tokens{}_per_s", "prophet_tokens{}_per_s"):
        middle = row[name.format("")]
        assert [row[name.format(end)] for end in ("_low", "_high")] == [pytest.approx(middle)] * 2


def test_as_described_uses_each_input_as_what_it_is_called(systems: pd.DataFrame) -> None:
    """Own rates of 100 and 250, a fourth of the communication: 8xA100's is 4 replicas of 2 GPUs over 600 GB/s."""
    rows = systems[(systems["mode"] == "as_described") & (systems["strategy"] == "hybrid")].set_index("system")
    sending = 8 * 2e9 / 2 / 600e9
    assert rows.loc["8xA100", "baseline_tokens_per_s"] == pytest.approx(4 / (1 / 100 + sending))
    assert rows.loc["8xA100", "prophet_tokens_per_s"] == pytest.approx(4 / (1 / 250 + sending / 4))
    assert (rows["communication_reduction"].drop("2xA100") == 4).all()


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
    given = study.physical.model_copy(update={"host_bytes_per_gpu": 0.0, "context_tokens": 1_000_000})
    full = study.model_copy(update={"physical": given})
    table = check(systems_table(full), SYSTEMS, "test")
    assert set(table.loc[table["mode"] == "physical", "verdict"]) == {"impossible"}


@pytest.mark.slow
def test_every_layout_uses_every_gpu(study: Study) -> None:
    for gpus in (1, 2, 8, 10):
        found = list(spreads(gpus))
        assert len(found) == len(set(found)) and all(layout.gpus == gpus for layout in found)
    table = layouts_table(study)
    assert set(table["system"]) == set(PRINTED)
    eight = table[table["system"] == "8xA100"]
    assert len(eight) == 10 and (eight["tensor_parallel"] > 1).sum() == 6 and eight["verdict"].nunique() == 2
    rates = eight["baseline_tokens_per_s"].dropna()
    assert list(rates) == sorted(rates, reverse=True)


@pytest.mark.slow
def test_real_models(study: Study) -> None:
    table = models_table(study)
    assert table["model"].nunique() == 2 and len(table) == 2 * 4 * 3
    eight = table[(table["system"] == "8xA100") & (table["strategy"] == "expert_parallel")].set_index("model")
    assert eight.loc["Mixtral-8x7B", "verdict"] == "resident"
    assert eight.loc["Mixtral-8x7B", "communicated_bytes_per_token"] >= 917504  # the busiest GPU's


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
        ({"physical__unstated__policy": ["fifo"]}, "unstated: `policy` = "),
        ({"physical__unstated__speed": [1]}, "unstated: unknown key `speed`"),
        ({"systems__2__usd_per_gpu_hour": None}, "system 8xA100: `usd_per_gpu_hour` is missing"),
        ({"systems__2__usd_per_gpu_hour": 0.0}, "system 8xA100: `usd_per_gpu_hour` = 0.0"),
        ({"published__expert_bytes": 1.0e13}, "2xA100: one expert of 128 experts of 10000 GB is 106 GB, a GPU"),
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


def test_sensitivity_computes_memory_anew(study: Study) -> None:
    bars = tornado(study, study.system("8xA100"))
    assert list(bars["factor"]) == ["study", *(name for name in FACTORS for _ in range(2))]
    speeds = bars.set_index(["factor", "value"])
    assert speeds.loc[("recall", 1.0), "speedup"] > speeds.loc[("recall", 0.5), "speedup"]
    assert speeds.loc[("cache_share", 0.1), "hit_rate"] < speeds.loc[("cache_share", 0.6), "hit_rate"]
    small = study.model_copy(update={"physical": study.physical.model_copy(update={"host_bytes_per_gpu": 0.0})})
    with pytest.raises(InputError, match="the host has"):
        tornado(small, small.system("8xA100"))


@pytest.fixture(scope="module")
def where() -> pd.DataFrame:
    return check(where_it_pays(0.15), WHERE, "test")


@pytest.mark.slow
def test_the_map_pays_where_transfers_take_as_long_as_computing(where: pd.DataFrame) -> None:
    best = where.loc[where["speedup"].idxmax()]
    assert 1 <= best["transfer_over_compute"] <= 8 and 1.2 < best["speedup"] < 2
    ends = where[where["transfer_over_compute"].isin([0.125, 64.0])]
    assert ends["speedup"].max() < 1.1
    assert (where["hit_rate"] >= where["cached_rate"] - 0.05).mean() > 0.95


@pytest.fixture(scope="module")
def exchanges() -> pd.DataFrame:
    return all_to_all(read(ROOT / "resources/published/moe_alltoall.csv", ALLTOALL_MEASUREMENTS))


def test_words(systems: pd.DataFrame, exchanges: pd.DataFrame) -> None:
    text = summary(systems, "10xA6000")
    assert "| Physical | Expert Parallel | EP10 | impossible | none | none |" in text
    assert "128 experts do not divide by ep 10" in text
    ended = log(systems, "a title", ["SUMMARY_8xA100.md"]).splitlines()
    assert ended[-1] == "ANALYSIS COMPLETED SUCCESSFULLY: 36 strategies analysed, 1 cannot run"
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
    assert len(made.rows) == 36
    impossible = next(row for row in made.rows if row["experts"] == "impossible")
    assert impossible["baseline"] == "cannot run"


@pytest.mark.slow
def test_pictures(
    study: Study, systems: pd.DataFrame, exchanges: pd.DataFrame, where: pd.DataFrame, tmp_path: Path
) -> None:
    across = moe_cross_system.draw(systems)
    assert "gains in 9 of 12 cases" in across.title and across.n == 36
    gain = {"source": "a paper", "what": "a model", "gain": 8.0, "kept_share": 0.2, "transfer_over_compute": 4.0}
    write_rows(tmp_path / "gains.csv", GAINS, gain | {"prefetching_low": 1.0, "prefetching_high": 1.2})
    gains = read(tmp_path / "gains.csv", GAINS)
    assert "a tenth or more only where" in moe_where.draw(where, gains).title
    assert "matters most" in moe_tornado.draw(tornado(study, study.system("8xA100")), "8xA100").title
    near = {"id": "a", "judged": True, "measured_ms": 2.0, "forecast_ms": 3.0, "factor": 1.5}
    write_rows(tmp_path / "anchors.csv", ANCHORS, near, near | {"id": "b", "factor": 2.5})
    ends = read(tmp_path / "anchors.csv", ANCHORS)
    assert "1 of 2 end-to-end figures" in moe_validation.draw(exchanges, ends).title
    for kind in pictures.KINDS:
        assert len(pictures.one_system(systems, "10xA6000", kind).axes) == 3


def test_the_command_prints_the_guides_metrics_and_every_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    one = ["moe", "--system", "8xA100", "--strategy", "hybrid", "--set", "unstated={}"]
    assert main([*one, "--debug", str(tmp_path / "debug.log")]) == 0
    said = capsys.readouterr().out
    (published,) = (line.split() for line in said.splitlines() if "  as published  " in line)
    assert published[:6] == ["Hybrid", "(DP4", "x", "EP2)", "as", "published"]
    assert " ".join(published[6:]) == "171 to 1,263 7.37x - 57.1 to 21.1 5.00x - 38.9 to 5.28 $403,333"
    assert said.endswith("ANALYSIS COMPLETED SUCCESSFULLY: 3 strategies analysed, 0 cannot run\n")
    logged = (tmp_path / "debug.log").read_text()
    assert "on demand: waiting_ms = " in logged and "link to the host: bytes_per_s = 24790500000.0" in logged
    assert main([*one, "--model", "mixtral_8x7b", "--set", "policy=lfu", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["mode"], found["verdict"]) == ("physical", "resident")
    for wrong in ("policy=fifo", "recall", "recall=2", "like=gpt2"):
        assert main([*one, "--set", wrong]) == 1
        assert capsys.readouterr().err.startswith("tilecast: error: ")


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
