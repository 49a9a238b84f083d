"""Physics as properties of `tilecast`: shapes of every remainder, on every GPU described."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices, load_device
from tilecast.predict.dominance import at_least_as_good, surpassed
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES, complete
from tilecast.predict.physics.chip import single_chip
from tilecast.predict.physics.single import matrix_features
from tilecast.predict.tilecast import GAP_MS, SHORTEST_MS, Tilecast

NVIDIA = sorted(name for name, device in devices().items() if device.vendor == "NVIDIA")
VECTORS = {"elementwise": "add", "softmax": "softmax", "norm": "ln"}
# A library takes another kernel at some lengths. How much one element more may take off, and add beyond its work,
# and how much twice the elements may take off.
STEP = {"elementwise": (0.98, 1.1), "norm": (0.95, 1.1), "softmax": (0.75, 1.3)}
STEP |= {"linear": (0.6, 2), "bmm": (0.6, 2.5)}
TWICE = {"elementwise": 0.93, "norm": 0.8, "softmax": 0.8, "linear": 0.5, "bmm": 0.5}


@pytest.fixture(scope="module")
def model() -> Tilecast:
    return Tilecast.load()


@cache
def shapes(family: str, count: int = 300) -> pd.DataFrame:
    """Kernels of a family whose dimensions have every remainder."""
    draw = np.random.default_rng(len(family))
    table = pd.DataFrame({"family": family, "op": VECTORS.get(family, family)}, index=range(count))
    matrix = family in MATRIX_FAMILIES
    limits = {"b": (1, 1 if family == "linear" else 200), "m": (8, 8192), "n": (8, 8192), "k": (8, 8192)}
    for name, (least, most) in (limits if matrix else {"b": (64, 65536), "m": (32, 16384)}).items():
        table[name] = np.exp(draw.uniform(np.log(least), np.log(most + 0.5), count)).astype(int)
    return table


Change = tuple[str, int, int]  # an axis, and its size: so many times what it was, and so many more


@cache
def changed(family: str, changes: tuple[Change, ...]) -> pd.DataFrame:
    """The shapes of a family, then those with each change in turn, in one table."""
    table = shapes(family)
    others = [table.assign(**{axis: times * table[axis] + more}) for axis, times, more in changes]
    return complete(pd.concat([table, *others], ignore_index=True))


def ratios(
    model: Tilecast, family: str, device: Device, changes: Iterable[Change]
) -> dict[Change, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """How many times as long each kernel takes after each change; all asked for at once, which is quicker."""
    listed = tuple(changes)
    found = model.predict(changed(family, listed), device)["latency_ms"].to_numpy()
    now, *after = np.split(found, 1 + len(listed))
    return {change: then / now for change, then in zip(listed, after, strict=True)}


def test_bytes_beyond_a_thousand_caches_are_a_thousand_to_the_network() -> None:
    on = single_chip(load_device("H100"))
    size = np.sqrt(np.array([500.0, 1500.0, 6000.0]) * on.l2_bytes / (3 * 4))  # three square matrices in fp32
    features, _ = matrix_features("linear", {"b": np.ones(3), "m": size, "n": size, "k": size}, on, 4.0)
    assert features[:, -4].tolist() == pytest.approx(np.log2([500, 1000, 1000]).tolist())


@pytest.mark.parametrize("family", MEASURED_FAMILIES)
@pytest.mark.parametrize("name", NVIDIA)
def test_one_element_more_is_no_other_world(model: Tilecast, family: str, name: str) -> None:
    axes = "mnk" if family in MATRIX_FAMILIES else "bm"
    changes = [(axis, 1, more) for axis in axes for more in (1, 2, 3)] + [(axis, 2, 0) for axis in axes]
    least, most = STEP[family]
    for (axis, times, more), found in ratios(model, family, load_device(name), changes).items():
        if times == 2:
            assert found.min() > TWICE[family]
            continue
        size = shapes(family)[axis].to_numpy()
        assert found.min() > least
        assert (found * size / (size + more)).max() < most


@pytest.mark.parametrize("name", NVIDIA)
def test_vector_kernels_stay_near_the_roofline(model: Tilecast, name: str) -> None:
    device = load_device(name)
    for family in VECTORS:
        table = changed(family, ())
        roofline = 1e3 * (table["bytes_read"] + table["bytes_written"]) / device.bandwidth_bytes_per_s
        times = model.predict(table, device)["latency_ms"] / (roofline + SHORTEST_MS + GAP_MS)
        assert (times < np.where(table["m"] < 256, 16, 6)).all(), family  # short rows leave lanes idle


@pytest.mark.parametrize("name", ["V100", "H100"])
def test_inputs_nobody_trained_on_are_extrapolated_with_the_widest_interval(model: Tilecast, name: str) -> None:
    device, lengths = load_device(name), [4096, 4097, 4098, 4100]  # all norms trained on: whole fours
    norm = complete(pd.DataFrame({"family": "norm", "op": "ln", "b": 8192, "m": lengths}))
    forecast = model.predict(norm, device)
    assert list(forecast["passport"]) == ["predicted", "extrapolated", "extrapolated", "predicted"]
    widths = np.log(forecast["high_ms"] / forecast["latency_ms"]).to_numpy()
    widest = max(model.half_width(device, family, seen=False) for family in MEASURED_FAMILIES)
    assert widths[[1, 2]] == pytest.approx(widest)
    assert widths[[0, 3]] == pytest.approx(model.half_width(device, "norm", model.seen(device)))
    assert forecast["latency_ms"].is_monotonic_increasing


def test_a_gpu_measured_with_one_width_of_heads_extrapolates_to_others() -> None:
    model, device = HalfPrecision.load(), load_device("NVIDIA_A100-SXM4-80GB")
    heads = {"batch": [8, 8], "tokens": [1024, 1024], "heads": [32, 32], "kv_heads": [8, 8], "window": [0, 0]}
    forecast = model.forecast("prefill", "bf16", {**heads, "head_dim": [128, 64]}, device)
    assert list(forecast["passport"]) == ["modern track", "extrapolated"]
    own, other = np.log(forecast["high_ms"] / forecast["latency_ms"])
    assert other > 2 * own
    h100 = model.forecast("prefill", "bf16", {**heads, "head_dim": [128, 64]}, load_device("H100"))
    assert list(h100["passport"]) == ["modern track"] * 2


@cache
def kernels() -> pd.DataFrame:
    """Kernels of every measured family, in single precision and in bf16."""
    every = pd.concat([shapes(family, 60) for family in MEASURED_FAMILIES], ignore_index=True)
    every["dtype"] = np.where(every.index % 3 == 0, "bf16", "fp32")
    return complete(every.fillna(0))


def improved(device: Device, draw: np.random.Generator) -> Device:
    """A made-up board, at least as good as `device` in every figure."""

    def factor() -> float:
        return float(2 ** abs(draw.normal(0, 0.5))) if draw.random() < 0.6 else 1.0

    clock, count = factor(), int(np.ceil(device.sm_count * factor()))
    up = clock * count / device.sm_count
    return replace(
        device,
        name="made up",
        sm_count=count,
        clock_hz=clock * device.clock_hz,
        vector_flops_per_s={name: up * rate for name, rate in device.vector_flops_per_s.items()},
        matrix_flops_per_s={name: up * rate for name, rate in device.matrix_flops_per_s.items()},
        bandwidth_bytes_per_s=factor() * device.bandwidth_bytes_per_s,
        l2_bytes=factor() * device.l2_bytes,
        power_w=None if device.power_w is None else factor() * device.power_w,
    )


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", sorted(devices()))
def test_a_board_at_least_as_good_is_never_slower_and_never_above_its_peak(
    model: Tilecast, name: str, count: int
) -> None:
    device, table, draw = load_device(name), kernels(), np.random.default_rng(len(name))
    described = model.predict(table, device)["latency_ms"].to_numpy()
    matrix = table["family"].isin(MATRIX_FAMILIES).to_numpy()
    for _ in range(count):
        board = improved(device, draw)
        assert device.name in {one.name for one in surpassed(board)}
        forecast = model.predict(table, board)
        latency = forecast["latency_ms"].to_numpy()
        assert (latency <= described * (1 + 1e-9)).all()
        assert ((forecast["low_ms"] <= latency) & (latency <= forecast["high_ms"])).all()
        peaks = table["dtype"].map(
            {dtype: board.peak_flops_per_s(dtype, matrix=True) for dtype in ("fp32", "bf16")}
        )
        assert (latency >= 1e3 * table["flops"] / peaks)[matrix].all()


def test_described_boards_are_forecast_as_they_are() -> None:
    assert all(surpassed(device) == [] for device in devices().values())


@pytest.mark.slow
def test_how_far_boards_that_are_described_or_made_up_contradict_each_other_is_known(model: Tilecast) -> None:
    """What the rule does not reach: pairs of described boards, and pairs of which neither is described."""
    table, every, draw = kernels(), devices(), np.random.default_rng(0)
    alone = {name: model.predict(table, device)["latency_ms"].to_numpy() for name, device in every.items()}
    pairs = [
        (alone[one.name] > 1.01 * alone[other.name]).mean()
        for one in every.values()
        for other in every.values()
        if one is not other and at_least_as_good(one, other)
    ]
    assert len(pairs) > 40
    assert np.mean(pairs) < 0.09
    shares = []
    for device in every.values():
        one = improved(device, draw)
        two = improved(one, draw)
        first, second = (model.predict(table, board)["latency_ms"].to_numpy() for board in (one, two))
        shares.append((second > 1.01 * first).mean())
    assert np.mean(shares) < 0.08


# Share of kernels that doubled rows, columns, depth or batch make faster by more than 1 %, mean of four GPUs.
FASTER = {"bmm": 0.12, "linear": 0.09, "elementwise": 0.02, "norm": 0.08, "softmax": 0.09}


@pytest.mark.parametrize("family", MEASURED_FAMILIES)
def test_how_often_twice_the_work_is_faster_is_known(model: Tilecast, family: str) -> None:
    """Not by construction: measured kernels contradict the order too, by the tile that a library takes."""
    shares = []
    for name in ("T4", "V100", "A100-40GB", "H100"):
        axes = {"linear": "mnk", "bmm": "bmnk"}.get(family, "bm")
        after = ratios(model, family, load_device(name), [(axis, 2, 0) for axis in axes])
        shares += [(found < 0.99).mean() for found in after.values()]
    print(f"{family}: {100 * np.mean(shares):.1f} % of {len(shapes(family)) * len(shares)} doublings are faster")
    assert np.mean(shares) < FASTER[family]


def test_a_number_format_that_a_gpu_lacks_is_refused() -> None:
    for name, dtype in (("V100", "bf16"), ("T4", "bf16"), ("P100", "fp8"), ("A100-40GB", "fp8")):
        with pytest.raises(InputError, match=f"computes nothing in {dtype}; it computes in fp"):
            load_device(name).check_format(dtype)
    for name, dtype in (("V100", "fp16"), ("V100", "tf32"), ("H100", "fp8"), ("B300", "bf16"), ("MI210", "bf16")):
        load_device(name).check_format(dtype)
