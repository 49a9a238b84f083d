"""tilecast: physics holds whatever the networks say; seen and unseen GPUs; intervals; training on little data."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices, load_device
from tilecast.predict import interval
from tilecast.predict.columns import of_table
from tilecast.predict.experts import chip_weights
from tilecast.predict.kernel import complete, wait_ms
from tilecast.predict.physics.chip import single_chip
from tilecast.predict.tilecast import GAP_MS, SHORTEST_MS, Tilecast


@pytest.fixture(scope="module")
def model() -> Tilecast:
    return Tilecast.load()


def kernels(count: int = 2000, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    family = draw.choice(["linear", "bmm", "elementwise", "softmax", "norm", "memory"], count)
    matrix = np.isin(family, ["linear", "bmm"])
    size = {name: np.exp(draw.uniform(0, np.log(20000), count)).astype(int) for name in "bmnk"}
    table = pd.DataFrame({"family": family, "op": np.where(family == "norm", "ln", family)})
    table["b"] = np.where(family == "linear", 1, np.minimum(size["b"], np.where(matrix, 500, 20000)))
    table["m"], table["n"], table["k"] = size["m"], np.where(matrix, size["n"], 0), np.where(matrix, size["k"], 0)
    return complete(table)


@pytest.mark.parametrize("name", sorted(devices()))
def test_never_below_the_hardware_and_never_free(model: Tilecast, name: str) -> None:
    device, table = load_device(name), kernels()
    forecast = model.predict(table, device)
    matrix = table["family"].isin(["linear", "bmm"])
    moved = 1e3 * (table["bytes_read"] + table["bytes_written"]) / device.bandwidth_bytes_per_s
    floor = np.maximum(1e3 * table["flops"] / device.peak_flops_per_s("fp32", matrix=True), moved)
    assert (forecast["latency_ms"] >= SHORTEST_MS).all()
    assert (forecast["latency_ms"][matrix] >= floor[matrix]).all()
    assert (forecast["low_ms"] <= forecast["latency_ms"]).all()
    assert (forecast["latency_ms"] < forecast["high_ms"]).all()
    assert np.isfinite(forecast[["latency_ms", "low_ms", "high_ms"]]).all(axis=None)
    assert set(forecast["bound"]) <= {"compute", "bandwidth", "latency", "wave tail"}


@pytest.mark.parametrize("name", ["H100", "L4", "A100-40GB", "V100", "RTX4090"])
@pytest.mark.parametrize("axis", ["b", "m", "n", "k"])
def test_four_times_the_work_takes_longer(model: Tilecast, name: str, axis: str) -> None:
    sizes = {"b": 64, "m": 512, "n": 512, "k": 512}
    table = pd.DataFrame([sizes, sizes | {axis: 4 * sizes[axis]}]).assign(family="bmm", op="bmm")
    once, more = model.predict(complete(table), load_device(name))["latency_ms"]
    assert more > 1.5 * once


def test_half_the_bandwidth_or_lanes_never_helps(model: Tilecast) -> None:
    fast = replace(load_device("H100"), name="made-up")
    slow = replace(fast, bandwidth_bytes_per_s=fast.bandwidth_bytes_per_s / 2)
    vector = pd.DataFrame({"family": "elementwise", "op": "add", "b": [8192, 32768], "m": 4096, "operands": 2})
    vector = complete(vector)
    assert (model.predict(vector, slow)["latency_ms"] > 1.5 * model.predict(vector, fast)["latency_ms"]).all()


def test_order_index_and_chunks_do_not_matter(model: Tilecast, monkeypatch: pytest.MonkeyPatch) -> None:
    table, device = kernels(500), load_device("H100")
    whole = model.predict(table, device)
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(model.predict(shuffled, device).loc[table.index], whole, rtol=1e-5)
    monkeypatch.setattr("tilecast.predict.tilecast.CHUNK", 37)
    pd.testing.assert_frame_equal(model.predict(table, device), whole, rtol=1e-5)


def test_a_seen_gpu_has_its_own_expert_and_a_changed_one_has_not(model: Tilecast) -> None:
    seen = load_device("V100")
    assert model.weights(seen, "linear")[1] == {seen.name: 1.0}
    changed = replace(seen, bandwidth_bytes_per_s=2 * seen.bandwidth_bytes_per_s)
    assert not model.seen(changed)
    assert model.weights(load_device("A100-80GB"), "linear")[1] == {"NVIDIA_A100-PCIE-40GB": 1.0}


def test_a_correction_is_held_between_e_to_the_minus_3_and_e_to_the_5(
    model: Tilecast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a network says. On an add of 0.5 G numbers, which takes milliseconds."""
    device, constant = load_device("V100"), SimpleNamespace(unknown=lambda features: np.zeros(len(features)))
    add = complete(pd.DataFrame({"family": ["elementwise"], "op": "add", "b": 1 << 17, "m": 4096, "operands": 2}))
    monkeypatch.setitem(model.experts[device.name], "elementwise", (constant,))

    def busy_ms(log: float) -> float:
        constant.correction = lambda features: np.full(len(features), log)
        return float(model.predict(add, device)["latency_ms"].iloc[0]) - GAP_MS

    assert busy_ms(5) / busy_ms(0) == pytest.approx(np.exp(5)) and busy_ms(9) == busy_ms(5)
    assert busy_ms(4.9) < busy_ms(5) and busy_ms(-9) == busy_ms(-3) < busy_ms(-2.9)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_columns_are_forecast_as_a_table_is(model: Tilecast, dtype: str) -> None:
    """On a GPU trained on, one that is not, and a board that is better than described ones."""
    rows = [
        ("linear", "linear", 1, 512, 4096, 1024), ("bmm", "bmm", 96, 512, 512, 64),
        ("norm", "ln", 4096, 1024, 0, 0), ("elementwise", "gelu", 4096, 4096, 0, 0),
        ("attention", "sdpa", 64, 512, 512, 64),
    ]  # fmt: skip
    table = complete(pd.DataFrame(rows, columns=["family", "op", *"bmnk"]).assign(dtype=dtype))
    h100 = load_device("H100")
    better = replace(h100, name="better", bandwidth_bytes_per_s=1.3 * h100.bandwidth_bytes_per_s)
    for device in (load_device("A100-40GB"), load_device("L4"), better):
        for kernels in (table, table.assign(isolated=[True, False, True, False, False])):
            expected = model.predict(kernels, device)
            found = model.predict_columns(of_table(kernels), device)
            assert {name: values.tolist() for name, values in found.items()} == expected.to_dict("list")


@pytest.mark.parametrize(("family", "fewest"), [("linear", 3), ("bmm", 16)])
def test_fewer_rows_than_were_timed_take_as_long_and_are_extrapolated(
    model: Tilecast, family: str, fewest: int
) -> None:
    rows = pd.DataFrame({"m": [fewest - 1 if family == "bmm" else 2, fewest, 2 * fewest]})
    table = complete(rows.assign(family=family, op=family, b=1 if family == "linear" else 8, n=1000, k=1024))
    for name in ("A100-40GB", "H100"):
        forecast = model.predict(table, load_device(name))
        assert forecast["passport"].tolist() == ["extrapolated", "predicted", "predicted"]
        few, some = (np.log(forecast[["low_ms", "high_ms"]]).diff(axis=1)["high_ms"].iloc[at] for at in (0, 1))
        assert few > 1.2 * some if name == "A100-40GB" else few >= some
        if family == "bmm":
            assert forecast["latency_ms"][0] == pytest.approx(forecast["latency_ms"][1], rel=1e-3)


def test_the_nearest_generation_weighs_most(model: Tilecast) -> None:
    weights = chip_weights(single_chip(load_device("H100")), model.donors, matrix=True, decay=0.7)
    assert max(weights, key=weights.__getitem__) == "NVIDIA_A100-PCIE-40GB"
    assert sum(weights.values()) == pytest.approx(1)


def test_isolated_kernels_wait_for_their_launch(model: Tilecast) -> None:
    table = complete(pd.DataFrame({"family": "linear", "op": "linear", "b": 1, "m": [512], "n": 512, "k": 512}))
    device = load_device("A100-40GB")
    alone = model.predict(table.assign(isolated=True), device)["latency_ms"].iloc[0]
    assert alone > model.predict(table, device)["latency_ms"].iloc[0] + 0.02


def test_short_of_power_lowers_the_sustained_rate() -> None:
    l4, h100 = single_chip(load_device("L4")), single_chip(load_device("H100"))
    assert l4.sustained_flops_per_s < 0.5 * l4.peak_flops_per_s
    assert h100.sustained_flops_per_s > 0.8 * h100.peak_flops_per_s


def test_number_formats_and_other_makers_are_extrapolated(model: Tilecast) -> None:
    table = complete(
        pd.DataFrame(
            {
                "family": "linear",
                "op": "linear",
                "b": 1,
                "m": 4096,
                "n": 4096,
                "k": 4096,
                "dtype": ["fp32", "bf16"],
            }
        )
    )
    forecast = model.predict(table, load_device("H100"))
    assert list(forecast["passport"]) == ["predicted", "modern track"]
    assert forecast["latency_ms"].iloc[1] < forecast["latency_ms"].iloc[0] / 4
    assert set(model.predict(table, load_device("MI210"))["passport"]) == {"extrapolated"}


@pytest.mark.parametrize("name", ["H100", "A100-40GB"])
def test_one_token_streams_the_weights(model: Tilecast, name: str) -> None:
    table = pd.DataFrame({"family": "linear", "op": "linear", "b": 1, "m": [1], "n": 8192, "k": 8192})
    device = load_device(name)
    streamed = 1e3 * 4 * 8192 * 8192 / device.bandwidth_bytes_per_s
    assert streamed < model.predict(complete(table), device)["latency_ms"].iloc[0] < 1.4 * streamed


def test_missing_weights_are_one_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="does not exist; train it"):
        Tilecast.load(tmp_path)


def test_half_width_covers_what_it_says() -> None:
    draw = np.random.default_rng(0)
    measured, new = np.exp(draw.normal(0, 0.2, 4000)), np.exp(draw.normal(0, 0.2, 4000))
    width = interval.half_width(measured, np.ones(4000))
    low, high = interval.interval(np.ones(4000), np.full(4000, width), np.zeros(4000))
    assert np.mean((new >= low) & (new <= high)) == pytest.approx(0.8, abs=0.03)


def measured() -> tuple[pd.DataFrame, dict[str, Device]]:
    """Made-up timings of an addition on two GPUs."""
    draw = np.random.default_rng(0)
    known = {device.name: device for device in (load_device("V100"), load_device("A100-40GB"))}
    rows = []
    for device in known.values():
        b, m = draw.integers(1000, 30000, 400), draw.integers(512, 4096, 400)
        busy = 1e3 * 12 * b * m / (0.8 * device.bandwidth_bytes_per_s)
        part = {"device": device.name, "family": "elementwise", "op": "add", "dtype": "fp32", "b": b, "m": m}
        rows.append(pd.DataFrame(part).assign(n=0, k=0, latency_ms=busy + 0.02))
    return pd.concat(rows, ignore_index=True), known


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_tilecast import measured
from tilecast.predict.train.experts import train_tilecast
train_tilecast(*measured(), Path({folder!r}), progress=lambda line: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_training_learns_and_goes_on_where_it_was_killed_to_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tilecast.predict.train.experts import train_tilecast

    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "one"))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lines: dict[str, list[str]] = {"one": [], "two": []}
    records = [train_tilecast(*measured(), tmp_path / name, progress=told.append) for name, told in lines.items()]
    assert [line.rsplit(", ")[-1] for line in lines["one"]] == ["as kept", "trained"]
    assert [line.rsplit(", ")[-1] for line in lines["two"]] == ["trained", "trained"]
    assert records[0] == records[1]
    for name in ("experts.safetensors", "record.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert max(records[0]["held_back_mape_percent"]["elementwise"].values()) < 5
    loaded = Tilecast.load(tmp_path / "one")
    assert loaded.seen(load_device("V100"))
    narrow = loaded.half_width(load_device("V100"), "elementwise", seen=True)
    assert 0 < narrow < 0.1


def test_whole_octaves_are_held_back() -> None:
    pytest.importorskip("torch")
    from tilecast.predict.train.experts import Examples, octaves_held_back

    table, known = measured()
    rows = table[table["device"] == "Tesla_V100-PCIE-32GB"]
    data = Examples(rows, "elementwise", single_chip(known["Tesla_V100-PCIE-32GB"]), {"add": 0.01})
    held = octaves_held_back(data, 0)
    cells = np.floor(np.log2(rows[["b", "m"]])).astype(int).astype(str).agg("x".join, axis=1).to_numpy()
    assert not set(cells[held]) & set(cells[~held])
    assert 0.02 < held.mean() < 0.6


def test_a_gpu_waits_for_its_host_only_where_the_host_is_slower() -> None:
    ones = np.ones(10)
    assert wait_ms(0.1 * ones, ones) == pytest.approx(0.1)  # the first kernel has to be issued
    assert wait_ms(2 * ones, ones) == pytest.approx(11)  # issued at 20, and one more to run
    assert wait_ms(ones, np.r_[100, np.zeros(9)]) == pytest.approx(1)  # issued meanwhile
    assert wait_ms(ones, np.r_[np.zeros(9), 100]) == pytest.approx(10)  # nothing to run meanwhile
    assert wait_ms(np.zeros(0), np.zeros(0)) == 0


def test_hosts_are_slower_at_linear_layers_and_in_python(model: Tilecast) -> None:
    ops = np.array(["add", "linear", "never seen"])
    forward, backward = (model.issue_ms(ops, phase) for phase in ("forward", "backward"))
    assert forward[0] == forward[2] < forward[1] < 0.2
    assert (backward <= forward).all() and len(set(backward)) == 1
    assert (model.issue_ms(ops, "forward", 0.9) > forward).all()


def test_many_kernels_are_worked_on_in_blocks(model: Tilecast, monkeypatch: pytest.MonkeyPatch) -> None:
    table, device = kernels(300).set_index(np.arange(300)[::-1]), load_device("L4")
    whole = model.predict(table, device)
    monkeypatch.setattr("tilecast.predict.tilecast.BLOCK", 64)
    pd.testing.assert_frame_equal(model.predict(table, device), whole, rtol=1e-5)
