"""Physics of products and the fit of their rates: limits, directions, formats, what a fit can find again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.hardware.device_file import devices
from tilecast.predict.experts import LASTING, kept
from tilecast.predict.physics.chip import FORMATS, Chip, chip
from tilecast.predict.physics.products import RATES, START, Rates, fit_level, fit_rates, physics, sustained_share

GPUS = ("NVIDIA_A100-SXM4-80GB", "NVIDIA_L40S", "NVIDIA_H100_80GB_HBM3", "NVIDIA_B200", "NVIDIA_RTX_PRO_6000")
dimension = st.integers(1, 65536)


def board(name: str, dtype: str = "bf16") -> Chip:
    return chip(devices()[name], dtype)


def one(m: int, n: int, k: int) -> dict[str, np.ndarray]:
    return {"m": np.array([float(m)]), "n": np.array([float(n)]), "k": np.array([float(k)])}


def products(count: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: 2.0 ** random.integers(low, 15, count) for name, low in (("m", 0), ("n", 5), ("k", 5))}


@settings(max_examples=40, deadline=None)
@given(dimension, dimension, dimension, st.sampled_from(sorted(FORMATS)), st.sampled_from(GPUS))
def test_physics_are_finite_and_stay_by_the_peak(m, n, k, dtype, name):
    known = physics(one(m, n, k), dtype, board(name, dtype), START)
    assert np.isfinite(known.features).all()
    # A blend of tiles may lie a little under the best of them; `Fold.latency_ms` holds forecasts to the floor.
    assert known.base_ms[0] > 0.9 * known.floor_ms[0] > 0
    assert known.roofline_ms[0] >= known.floor_ms[0]


@settings(max_examples=40, deadline=None)
@given(dimension, dimension, dimension, st.sampled_from(GPUS), st.floats(1.05, 4))
def test_more_bandwidth_peak_or_watts_never_cost_time(m, n, k, name, factor):
    dims, on = one(m, n, k), board(name)
    base = physics(dims, "bf16", on, START).base_ms[0]
    better = (
        replace(on, bandwidth_bytes_per_s=factor * on.bandwidth_bytes_per_s),
        replace(on, power_w=factor * on.power_w),
        replace(on, l2_bytes=factor * on.l2_bytes),
        replace(on, peak_flops_per_s=factor * on.peak_flops_per_s, half_flops_per_s=factor * on.half_flops_per_s,
                power_w=factor * on.power_w),
    )  # fmt: skip
    for other in better:
        # Another L2 may be slower than memory per byte; nothing else may cost.
        slack = 1.3 if other.l2_bytes != on.l2_bytes else 1 + 1e-9
        assert physics(dims, "bf16", other, START).base_ms[0] <= base * slack


def test_a_board_without_a_power_limit_is_bound_by_its_kernels_only():
    plain = Rates.of(START)
    share = sustained_share(replace(board("NVIDIA_B200"), power_w=np.inf), plain)
    assert share == pytest.approx(plain.peak_share)
    assert sustained_share(board("NVIDIA_L40S"), plain) < 0.75


def test_activations_of_fp8_are_narrowed_row_by_row_and_bf16_needs_nothing():
    dims = {"m": np.array([1.0, 4096.0]), "n": np.array([64.0, 64.0]), "k": np.array([64.0, 64.0])}
    half, eight = (
        physics(dims, dtype, board("NVIDIA_H100_80GB_HBM3", dtype), START).base_ms for dtype in ("bf16", "fp8")
    )
    assert eight[0] - half[0] == pytest.approx(0.0022, rel=0.2)  # a launch
    assert eight[1] - half[1] > 0.012  # and 31 rows a multiprocessor
    block = physics(dims, "fp8_block", board("NVIDIA_H100_80GB_HBM3", "fp8_block"), START).base_ms
    assert block[1] < eight[1]


def test_a_fit_finds_rates_and_levels_again():
    truth = START.copy()
    truth[list(RATES).index("wave_cycles")] += 0.6
    truth[list(RATES).index("launch_ms")] += 0.3
    random, parts = np.random.default_rng(0), []
    for place, name in enumerate(GPUS):
        dims, on = products(300, place), board(name)
        times = physics(dims, "bf16", on, truth).base_ms * np.exp(0.01 * random.standard_normal(300))
        parts.append((dims, on, times, np.full(300, 1 / 300 / len(GPUS))))
    found = fit_rates(parts, "bf16", START, 0.003)
    for name in ("wave_cycles", "launch_ms"):
        place = list(RATES).index(name)
        assert found[place] == pytest.approx(truth[place], abs=0.15)
    dims, on, _, _ = parts[0]
    level = np.array([0.1, -0.1, 0.2])
    times = physics(dims, "bf16", on, START, level).base_ms
    assert fit_level(dims, "bf16", on, START, times, np.full(300, 1 / 300)) == pytest.approx(
        level, abs=0.08
    )  # drawn back


def test_short_calls_keep_a_correction_and_long_ones_a_part():
    share = kept(np.array([1e-4, 0.05, 1e3]))
    assert share[0] == pytest.approx(1, abs=0.01)
    assert share[1] == pytest.approx((1 + LASTING) / 2)
    assert share[2] == pytest.approx(LASTING, abs=0.001)
