"""The tables of other frameworks: whole, legal, shipped, and forecast with the one set of assumptions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.base.paths import PUBLISHED, SHARES
from tilecast.evaluate import multigpu
from tilecast.evaluate.multigpu import SLOWED, Forecaster, collective_errors, scoreboard
from tilecast.evaluate.published_steps import (
    PUBLISHED_TABLE,
    SOURCES,
    TABLES,
    assumptions,
    published_cases,
    published_ms,
)
from tilecast.hardware.device_file import devices, load_device
from tilecast.hardware.system import load_system
from tilecast.multigpu.layout import STANDARD, legal
from tilecast.multigpu.memory import parameters
from tilecast.multigpu.shard import Shape, share
from tilecast.multigpu.shipped_shares import key, load
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.physics import throttle
from tilecast.predict.physics.throttle import SHARE, spread, sustained
from tilecast.predict.registry import load_predictor

# What each source says the model has, in billion: `num_params` of MPT and BLOOM's logbook, names of the others.
BILLIONS = {
    "mpt_125m": 0.125311488, "mpt_760m": 0.760470528, "mpt_7b": 6.658859008, "mpt_70b": 64.862437376,
    "bloom_14336_70_112": 176, "llama31_405b": 405.9, "codellama_34b": 33.7, "llama3_70b": 70.55,
    "qwen3_235b_a22b": 235,
}  # fmt: skip


@pytest.fixture(scope="module")
def cases():
    return published_cases(pd.read_csv(PUBLISHED / PUBLISHED_TABLE))


def test_every_row_is_a_layout_that_can_run(cases):
    assert len(cases) == 106
    assert {case.suite for case in cases} == set(SOURCES)
    for case in cases:
        sizes = (case.row["gpus"], case.work.batch_size, case.work.sequence_length)
        assert legal(case.layout, case.work.architecture, *sizes) is None, case.layout.label
        assert case.device in devices()
        assert load_system(case.system).gpus >= case.row["gpus"]


def test_models_are_as_large_as_their_sources_say(cases):
    stated = [case for case in cases if case.row["sequence"] != 8192 or case.row["model_type"] != "gpt2"]
    seen = {case.row["model"]: parameters(case.work.architecture) / 1e9 for case in stated}
    for model, billions in BILLIONS.items():
        assert seen[model] == pytest.approx(billions, rel=0.01), model


def test_figures_become_steps():
    row = {"batch": 64, "sequence": 100, "gpus": 8}
    assert published_ms(row | {"unit": "s", "measured": 2.0}) == 2000
    assert published_ms(row | {"unit": "tokens/s", "measured": 3200}) == pytest.approx(2000)
    assert published_ms(row | {"unit": "tokens/s/GPU", "measured": 400}) == pytest.approx(2000)


def test_every_row_is_shipped_and_one_is_traced_anew(cases):
    for case in cases:
        assert Shape.of(case.layout) in load(SHARES, case.work)
    case = next(case for case in cases if case.suite == "torchtitan")
    shape = Shape.of(case.layout)
    assert load(SHARES, case.work)[shape] == share(case.work, shape)


def test_what_a_recipe_overlaps_is_all_that_differs():
    assert assumptions({"tp": 4}) is STANDARD
    assert assumptions({"tp": 4, "tp_overlap": 0}) is STANDARD
    recipe = assumptions({"tp": 4, "tp_overlap": 1})
    assert recipe == replace(STANDARD, tp_overlap=0.75, blocking_sends=False)


def test_kernels_shared_between_rows_change_nothing(cases):
    """Two rows of one model and microbatch on other numbers of GPUs: as if each were forecast by itself."""
    predictor = load_predictor("tilecast")
    forecast = Forecaster(predictor, SHARES)
    pair = [case for case in cases if case.row["model"] == "llama3_8b"][:2]
    assert len({key(case.work) for case in pair}) == 1
    for case in pair:
        system, device, traced = load_system(case.system), load_device(case.device), load(SHARES, case.work)
        alone = StepForecaster(case.work, system, device, predictor, traced=traced)
        assert forecast(case).latency_ms == alone.step(case.layout).latency_ms


def test_large_dense_models_use_a_plausible_share_of_the_peak(cases):
    """Through the half-precision track, 35 to 60 % of the peak: what such runs reach at best and at worst."""
    forecast = Forecaster(load_predictor("tilecast"), SHARES)
    for source, model in (("dgxc", "llama3_70b"), ("dgxc", "llama31_405b"), ("llm-foundry", "mpt_30b")):
        case = next(case for case in cases if (case.suite, case.row["model"]) == (source, model))
        work, device, gpus = case.work, load_device(case.device), case.row["gpus"]
        architecture = work.architecture
        flops = 6 * parameters(architecture) * work.tokens
        # causal attention
        flops += 6 * architecture.layers * architecture.hidden * work.sequence_length * work.tokens
        peak = gpus * device.peak_flops_per_s("bf16", matrix=True)
        share_of_peak = flops / (forecast(case).latency_ms / 1e3) / peak
        assert 0.35 < share_of_peak < 0.60, (model, share_of_peak)


def test_the_scoreboard_sums_up_the_sources():
    rows = pd.DataFrame(
        {
            "suite": ["dgxc", "bloom", "bloom"], "error_percent": [10.0, -20.0, -6.0], "measured_ms": [100.0] * 3,
            "low_ms": [90.0, 70.0, 60.0], "high_ms": [120.0, 90.0, 130.0], "authors_ms": [np.nan] * 3,
            "fits": [True] * 3,
        }
    )  # fmt: skip
    found = scoreboard(rows).set_index("suite")
    assert found.loc["published", ["cases", "mean_percent", "median_percent", "worst_percent"]].tolist() == [
        3,
        12,
        10,
        20,
    ]
    assert found.loc["published", "covered"] == 2
    assert found.loc["bloom", "signed_percent"] == -13


def test_the_scoreboard_counts_what_it_is_given():
    rows = pd.DataFrame(
        {
            "suite": ["artifact"] * 2,
            "error_percent": [10.0, -20.0],
            "measured_ms": [100.0, 100.0],
            "low_ms": [90.0, 70.0],
            "high_ms": [120.0, 90.0],
            "authors_ms": [110.0, np.nan],
            "fits": [True, True],
        }
    )
    found = scoreboard(rows).set_index("suite").loc["artifact"]
    assert (found["cases"], found["mean_percent"], found["worst_percent"]) == (2, 15, 20)
    assert (found["signed_percent"], found["covered"], found["authors_percent"]) == (-5, 1, pytest.approx(10))
    assert scoreboard(rows).set_index("suite").loc["megatron", "cases"] == 0


def test_what_slows_a_run_is_shown_by_every_rule_and_only_while_it_is_evaluated():
    known = pd.read_csv(SLOWED)
    slowest = known[known["rule"] == "slowest"].set_index("device")["share"]
    assert dict(slowest) == pytest.approx(SHARE, abs=0.03)  # the shipped ones leave out rows that are flagged
    tables = {name: pd.read_csv(PUBLISHED / name).head(2) for name in (*TABLES.values(), PUBLISHED_TABLE)}
    shipped = dict(SHARE)
    table = multigpu.sustained(tables, load_predictor("tilecast"), SHARES)
    assert shipped == throttle.SHARE
    faster = table[table["suite"] == "megatron"].set_index("rule")["signed_percent"]
    assert faster["slowest"] > faster["middle"] > faster["mean"] > faster["none"]  # forecast faster and faster
    assert set(table["n"]) == {2}


def test_how_far_a_run_is_slowed_is_uncertain():
    kernels = {"family": np.array(["linear", "softmax"])}
    forecast = {
        "latency_ms": np.full(2, 1.0), "low_ms": np.full(2, 0.9), "high_ms": np.full(2, 1.1),
        "bound": np.full(2, "compute"), "passport": np.full(2, "modern track"),
    }  # fmt: skip
    found = sustained(kernels, forecast, load_device("H100"), "training")
    assert 0.1 < spread() < 0.2
    assert found["high_ms"][0] / found["latency_ms"][0] == pytest.approx(np.exp(np.hypot(np.log(1.1), spread())))
    assert all(found[name][1] == values[1] for name, values in forecast.items())


def test_the_table_states_where_each_row_is_from():
    words = (Path(PUBLISHED) / "README.md").read_text(encoding="utf-8")
    assert all(f"**{source}**" in words for source in SOURCES)


def test_messages_of_a_mebibyte_are_among_those_from_a_mebibyte():
    sizes = [1 << 10, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 1 << 21]
    cells = pd.DataFrame({"bytes": sizes, "ape_percent": [1.0, 2.0, 4.0, 8.0, 16.0]})
    found = collective_errors(cells.assign(basis="a", system="b", op="c")).set_index("sizes")
    assert found["n"].to_dict() == {"all": 5, "from 1 MiB": 3}
    assert found["mape_percent"].to_dict() == pytest.approx({"all": 31 / 5, "from 1 MiB": 28 / 3})
