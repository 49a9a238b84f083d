"""Physics as properties of `tilecast`: shapes of every remainder, on every GPU described."""

import numpy as np
import pandas as pd
import pytest

from tilecast.hardware.device_file import devices, load_device
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES, complete
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


def shapes(family: str, count: int = 300) -> pd.DataFrame:
    """Kernels of a family whose dimensions have every remainder."""
    draw = np.random.default_rng(len(family))
    table = pd.DataFrame({"family": family, "op": VECTORS.get(family, family)}, index=range(count))
    matrix = family in MATRIX_FAMILIES
    limits = {"b": (1, 1 if family == "linear" else 200), "m": (8, 8192), "n": (8, 8192), "k": (8, 8192)}
    for name, (least, most) in (limits if matrix else {"b": (64, 65536), "m": (32, 16384)}).items():
        table[name] = np.exp(draw.uniform(np.log(least), np.log(most + 0.5), count)).astype(int)
    return table


@pytest.mark.parametrize("family", MEASURED_FAMILIES)
@pytest.mark.parametrize("name", NVIDIA)
def test_one_element_more_is_no_other_world(model: Tilecast, family: str, name: str) -> None:
    device, table = load_device(name), shapes(family)
    now = model.predict(complete(table), device)["latency_ms"]

    def times(axis: str, longer: pd.Series) -> pd.Series:
        return model.predict(complete(table.assign(**{axis: longer})), device)["latency_ms"] / now

    least, most = STEP[family]
    for axis in "mnk" if family in MATRIX_FAMILIES else "bm":
        size = table[axis]
        for more in (1, 2, 3):
            found = times(axis, size + more)
            assert found.min() > least
            assert (found * size / (size + more)).max() < most
        assert times(axis, 2 * size).min() > TWICE[family]


@pytest.mark.parametrize("name", NVIDIA)
def test_vector_kernels_stay_near_the_roofline(model: Tilecast, name: str) -> None:
    device = load_device(name)
    for family in VECTORS:
        table = complete(shapes(family))
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
