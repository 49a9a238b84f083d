"""Experts by Triton's kernel: loads add up, launches follow their rule, rates are found again and see no one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.base.errors import InputError
from tilecast.evaluate.generations import known_devices
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.physics.chip import chip
from tilecast.predict.physics.expert_kernel import (
    FAMILY,
    LONG,
    SHORT,
    START,
    TUNED_TILES,
    KernelRates,
    _to_level,
    load,
    time_ms,
)
from tilecast.predict.physics.half import physics, triton
from tilecast.predict.train.generations import PLAIN_DECAY, LeaveOut, Rows

GPUS = ("NVIDIA_A100-SXM4-80GB", "NVIDIA_H100_80GB_HBM3", "NVIDIA_B200", "NVIDIA_L40S")


def layers(tokens, experts=128, topk=8, hidden=4096, inter=1536, tp=1, skew=0.0):
    sizes = {"hidden": hidden, "inter": inter, "topk": topk, "experts": experts, "tp": tp, "ep": 1, "skew": skew}
    tokens = np.atleast_1d(np.array(tokens, dtype=float))
    return {"tokens": tokens} | {name: np.full(len(tokens), float(value)) for name, value in sizes.items()}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 20000),
    st.integers(1, 8),
    st.sampled_from([8, 16, 128, 160, 512]),
    st.sampled_from([0, 1.01, 1.2]),
)
def test_no_assignment_is_lost_and_no_expert_has_more_rows_than_tokens(tokens, topk, experts, skew):
    found = load(tokens, topk, experts, 1, skew)
    assert found.rows == tokens * topk
    assert found.active <= min(experts, tokens * topk)
    assert found.tiles[0] * 16 >= found.rows
    assert list(found.tiles) == sorted(found.tiles, reverse=True)
    assert found.tiles[-1] >= found.active
    assert load(tokens, topk, experts, 4, skew).rows * 4 >= found.rows  # the fullest of four


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=20), st.integers(0, 200))
def test_levelling_reaches_the_sum_and_moves_only_one_end(counts, wanted):
    before = np.array(counts)
    after = _to_level(before, wanted)
    assert after.sum() == wanted
    assert after.min() >= 0
    assert (after >= before).all() if wanted >= before.sum() else (after <= before).all()


def test_balanced_experts_are_all_in_use_as_soon_as_there_are_enough_assignments():
    assert load(16, 8, 128, 1, 0.0).active == 128
    assert load(4, 8, 128, 1, 0.0).active == 32


def test_tiles_follow_the_rule_of_tokens_and_experts_and_what_is_tuned():
    every = known_devices()
    some = layers([128, 129], inter=1536)
    tiles = triton(some, "bf16", chip(every["NVIDIA_L40S"], "bf16"))[1].tiles
    assert tiles.tolist() == [SHORT, LONG]
    tuned = layers([128, 129], inter=768)
    assert (triton(tuned, "bf16", chip(every["NVIDIA_H100_80GB_HBM3"], "bf16"))[1].tiles == TUNED_TILES).all()
    assert (triton(some, "fp8_block", chip(every["NVIDIA_L40S"], "bf16"))[1].tiles == LONG).all()


def test_products_of_experts_take_no_less_than_their_operations_at_peak():
    """Six operations a weight that a token meets: 128 tokens, each by its experts, of hidden x inter."""
    on, some = chip(known_devices()["NVIDIA_H200"], "bf16"), layers([128])
    rows = 128 * some["topk"][0]
    floor = 1e3 * 6 * rows * some["hidden"][0] * some["inter"][0] / on.peak_flops_per_s
    assert physics(FAMILY, some, "bf16", on).floor_ms.item() == pytest.approx(floor)


def test_more_tokens_never_take_less_beyond_the_change_of_tiles():
    on = chip(known_devices()["NVIDIA_B200"], "bf16")
    times = time_ms(triton(layers([256, 512, 1024, 4096, 16384]), "bf16", on)[1], on)
    assert (np.diff(times) > 0).all()


def measured(rates, seed=0):
    every, found = known_devices(), {}
    random = np.random.default_rng(seed)
    for name in GPUS:
        tokens = 2.0 ** random.uniform(0, 14, 400)
        dims = layers(np.rint(tokens))
        dims["inter"] = random.choice([512.0, 1024.0, 4096.0], 400)
        on = chip(every[name], "bf16")
        times = time_ms(triton(dims, "bf16", on)[1], on, rates)
        found[name] = Rows(dims, times, np.ones(400, bool), np.full(400, np.nan))
    return {f"{FAMILY}/bf16": found}


def test_rates_are_found_again_on_gpus_that_were_left_out():
    vector = START.vector()
    vector[1], vector[4], vector[7], vector[11] = vector[1] + 0.4, 0.3, -0.4, 2.8
    groups = measured(KernelRates.of(vector))
    rounds = LeaveOut(groups, known_devices(), GENERATIONS)
    group = f"{FAMILY}/bf16"
    forecast = rounds.forecast(group, "NVIDIA_B200", {"Blackwell"}, PLAIN_DECAY)
    assert np.median(np.abs(forecast / groups[group]["NVIDIA_B200"].measured_ms - 1)) < 0.05


def test_what_is_left_out_never_moves_its_rates():
    one, other = measured(START), measured(START)
    group = f"{FAMILY}/bf16"
    other[group]["NVIDIA_B200"].measured_ms *= 7
    fits = [LeaveOut(groups, known_devices(), GENERATIONS).rates(group, {"Blackwell"}) for groups in (one, other)]
    assert fits[0] == fits[1]


def test_the_shipped_rates_forecast_any_gpu_and_know_who_is_left_out():
    model, every = HalfPrecision.load(), known_devices()
    dims = layers([1, 64, 4096])
    kept = model.forecast(FAMILY, "bf16", dims, every["NVIDIA_B200"])
    out = model.forecast(FAMILY, "bf16", dims, every["NVIDIA_B200"], without=("Blackwell",))
    assert (kept["low_ms"] <= kept["latency_ms"]).all() and (kept["latency_ms"] <= kept["high_ms"]).all()
    assert (kept["latency_ms"] != out["latency_ms"]).all()
    with pytest.raises(InputError, match="leave one out"):
        model.forecast(FAMILY, "bf16", dims, every["NVIDIA_B200"], without=("Blackwell", "Hopper"))
