"""Half-precision forecasts: physics, donors, leaving out, protocol, serving; on kernels made up here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.evaluate import neusight_generations
from tilecast.evaluate.generations import (
    FOLDS,
    by_generation,
    known_devices,
    protocol,
    sampled,
    shipped_errors,
    surface,
)
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices, load_device
from tilecast.models.architecture import Architecture
from tilecast.predict.columns import as_table, of_table
from tilecast.predict.experts import unit_weights
from tilecast.predict.half_precision import DIMENSIONS, HalfPrecision, half_precision
from tilecast.predict.half_precision import shipped as shipped_experts
from tilecast.predict.kernel import HALF_PASSPORT, complete
from tilecast.predict.physics.chip import FORMATS, chip, power_limited_share
from tilecast.predict.physics.expert_kernel import expected_load
from tilecast.predict.physics.half import physics, seen_keys
from tilecast.predict.train import experts, generations
from tilecast.predict.train.generations import PLAIN_DECAY, LeaveOut, Rows, ship
from tilecast.serving.passes import Formats, Work, layer_kernels

GPUS = ("NVIDIA_A100-SXM4-80GB", "NVIDIA_L40S", "NVIDIA_H100_80GB_HBM3", "NVIDIA_H200", "NVIDIA_B200")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Few designs, few passes over few rows: what is tested is who sees what, not how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generations, "DECAYS", (0.4, 1.5))
        patch.setattr(experts, "EPOCHS", 12)
        yield


@pytest.fixture(scope="module")
def shipped():
    return HalfPrecision.load()


def products(count, seed):
    random = np.random.default_rng(seed)
    m, n, k = (2.0 ** random.integers(*limits, count) for limits in ((0, 14), (5, 15), (5, 15)))
    return {"m": m, "n": n, "k": k}


def synthetic(device, family="gemm", dtype="bf16", count=400, seed=0):
    """Kernels whose time is the physics' own, times what this GPU loses, a little noise."""
    dims = products(count, seed)
    known = physics(family, dims, dtype, chip(devices()[device], dtype))
    random = np.random.default_rng(seed + 1)
    measured = known.base_ms * np.exp(0.1 + 0.03 * random.standard_normal(count))
    return Rows(dims, measured, random.random(count) > 0.02, np.full(count, np.nan))


@pytest.fixture(scope="module")
def left_out():
    groups = {"gemm/bf16": {name: synthetic(name, seed=place) for place, name in enumerate(GPUS)}}
    every = {name: devices()[name] for name in GPUS}
    return LeaveOut(groups, every, {name: GENERATIONS[name] for name in GPUS}, progress=lambda line: None)


dimension = st.integers(1, 65536)


@settings(max_examples=40, deadline=None)
@given(dimension, dimension, dimension, st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(GENERATIONS)))
def test_a_product_is_never_faster_than_the_peak_and_always_finite(m, n, k, dtype, name):
    model = shipped_experts()
    if not model.knows("gemm", dtype):
        return
    device, dims = devices()[name], {"m": [m], "n": [n], "k": [k]}
    known = physics(
        "gemm", {key: np.array(value, float) for key, value in dims.items()}, dtype, chip(device, dtype)
    )
    forecast = {key: value[0] for key, value in model.forecast("gemm", dtype, dims, device).items()}
    assert math.isfinite(forecast["latency_ms"])
    assert forecast["latency_ms"] >= known.floor_ms[0] > 0
    assert 0 < forecast["low_ms"] <= forecast["latency_ms"] <= forecast["high_ms"]
    assert forecast["low_ms"] >= known.floor_ms[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300))
def test_attention_counts_exactly_the_keys_that_are_seen(tokens, earlier, window):
    context = tokens + earlier
    span = window if 0 < window < context else context
    brute = sum(min(earlier + place + 1, span) for place in range(tokens))
    found = seen_keys(np.array([float(tokens)]), np.array([float(context)]), np.array([float(window)]))
    assert found[0] == brute


def test_a_power_law_lends_more_to_more_watts_and_never_more_than_the_peak():
    device = devices()["NVIDIA_L40S"]
    on = chip(device, "bf16")
    shares = [power_limited_share(replace(on, power_w=watts), 0.8e12, 0.4, 0.92) for watts in (50, 150, 350, 9000)]
    assert shares == sorted(shares)
    assert shares[-1] <= 0.92
    assert on.sustained_flops_per_s < 0.92 * device.peak_flops_per_s("bf16", matrix=True)


def test_the_load_of_the_fullest_gpu_holds_all_assignments_where_there_is_one():
    rows, active = expected_load(1000.0, 8.0, 64.0, 1.0, 1.2)
    assert rows == pytest.approx(8000)
    assert active <= 64
    assert expected_load(1000.0, 8.0, 64.0, 4.0, 0.0)[0] == pytest.approx(2000)
    assert expected_load(1000.0, 8.0, 64.0, 4.0, 1.2)[0] > 2000
    assert expected_load(1.0, 2.0, 64.0, 1.0, 0.0)[1] <= 2


def test_donors_share_by_generation_and_likeness():
    units = {"a": 10.0, "b": 12.0, "c": 12.0, "d": 13.0}
    generations = {"a": "old", "b": "mid", "c": "mid", "d": "new"}
    weights = unit_weights(12.5, units, generations, 0.8)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["b"] == weights["c"]
    assert weights["b"] + weights["c"] == pytest.approx(weights["d"])
    assert weights["a"] < weights["b"]


def test_leaving_a_generation_out_never_asks_its_experts(shipped):
    h200, group = devices()["NVIDIA_H200"], "gemm/bf16"
    on = chip(h200, "bf16")
    assert shipped.weights(h200, on, group) == {"NVIDIA_H200": 1.0}
    left = shipped.weights(h200, on, group, ("Hopper",))
    assert left
    assert not {"NVIDIA_H200", "NVIDIA_H100_80GB_HBM3"} & set(left)
    everyone = tuple(set(GENERATIONS.values()))
    with pytest.raises(InputError, match="measured"):
        shipped.forecast("gemm", "bf16", {"m": [1], "n": [1], "k": [1]}, h200, everyone)
    with pytest.raises(InputError, match="not measured"):
        shipped.forecast("conv", "bf16", {}, h200)


@pytest.mark.slow
def test_choices_within_a_fold_do_not_see_what_is_left_out(left_out):
    """Shuffling the times of the generation left out changes neither the choice nor the forecast."""
    before = left_out.choose("gemm/bf16", {"Hopper"})
    forecast = left_out.forecast("gemm/bf16", "NVIDIA_H100_80GB_HBM3", {"Hopper"}, before[0])
    width = left_out.half_width("gemm/bf16", {"Hopper"}, before[0])
    changed = {
        "gemm/bf16": {
            name: Rows(rows.dims, rows.measured_ms[::-1] * 7, rows.good, rows.noise_percent)
            if GENERATIONS[name] == "Hopper"
            else rows
            for name, rows in left_out.groups["gemm/bf16"].items()
        }
    }
    again = LeaveOut(changed, left_out.devices, left_out.generations, progress=lambda line: None)
    after = again.choose("gemm/bf16", {"Hopper"})
    assert after[0] == before[0]
    assert again.half_width("gemm/bf16", {"Hopper"}, after[0]) == pytest.approx(width)
    other = again.forecast("gemm/bf16", "NVIDIA_H100_80GB_HBM3", {"Hopper"}, after[0])
    assert other == pytest.approx(forecast)


@pytest.mark.slow
def test_the_protocol_leaves_out_families_and_goes_forward_in_time(left_out):
    table = protocol(left_out, progress=lambda line: None)
    ours = table[(table["predictor"] == "tilecast") & (table["kind"] == "left out")]
    assert set(ours["device"]) == set(GPUS)
    assert (ours["mape_percent"] < 40).all()
    assert (table["n_flagged"] > 0).all()
    forward = table[(table["kind"] == "forward") & (table["predictor"] == "tilecast")]
    assert set(forward["generation"]) == {"Hopper", "Blackwell"}
    hopper = next(fold for fold in FOLDS if fold[:2] == ("forward", "Hopper"))
    assert set(hopper[2]) == {"Blackwell", "RTX Blackwell"}
    one = {"gemm/bf16": {"NVIDIA_H200": left_out.groups["gemm/bf16"]["NVIDIA_H200"]}}
    alone = LeaveOut(one, left_out.devices, left_out.generations, progress=lambda line: None)
    assert protocol(alone, progress=lambda line: None).empty  # there is no other generation to learn from
    means = by_generation(table)
    hopper_rows = means[(means["generation"] == "Hopper") & (means["predictor"] == "tilecast")]
    assert (hopper_rows["n"] == ours[ours["generation"] == "Hopper"]["n"].sum()).all()
    assert (hopper_rows["gpus"] == (ours["generation"] == "Hopper").sum()).all()


def test_neusights_architecture_is_left_out_alike(left_out, tmp_path, monkeypatch):
    monkeypatch.setattr(neusight_generations, "NEUSIGHT_ROWS", 60)
    monkeypatch.setattr(neusight_generations, "NEUSIGHT_TESTED", 50)
    monkeypatch.setattr(neusight_generations, "FOLDS", FOLDS[:1])
    told = []
    table = neusight_generations.neusight_protocol(left_out.groups, tmp_path, progress=told.append)
    assert table[["device", "predictor"]].to_numpy().tolist() == [[GPUS[0], "neusight"]]
    assert len(told) == 2 and "validation error" in told[1]
    ampere = 60 * 4 - sum((~part.good).sum() for part in sampled(left_out.groups, 60, 0)["gemm/bf16"].values())
    assert 0 <= int(told[0].split()[-2]) - ampere <= 60  # the good ones of four GPUs, A100's left out


def test_one_generation_teaches_nothing_of_others_and_only_products_know_how_much_they_doubt(left_out):
    rows = left_out.groups["gemm/bf16"]["NVIDIA_H200"]
    one = {group: {"NVIDIA_H200": rows} for group in ("gemm/bf16", "decode/bf16")}
    alone = LeaveOut(one, left_out.devices, left_out.generations, progress=lambda line: None)
    assert [alone.choose(group, ()) for group in one] == [(0.0, {}), (PLAIN_DECAY, {})]
    assert alone.doubt("decode/bf16", "NVIDIA_H200", ()).tolist() == [1.0] * len(rows.measured_ms)


@pytest.mark.slow
def test_the_surface_holds_products_whose_n_and_k_are_within_a_factor_of_two(left_out):
    found = surface(left_out).set_index("device")
    rows = left_out.groups["gemm/bf16"]["NVIDIA_H200"]
    m, n, k = (rows.dims[name] for name in "mnk")
    near = rows.good & (n <= 2 * k) & (k <= 2 * n)
    drawn = found.loc["NVIDIA_H200", ["m", "n"]].itertuples(index=False, name=None)
    assert set(drawn) == set(zip(m[near], n[near])) and set(found.index) == set(GPUS)


@pytest.mark.slow
def test_weights_survive_being_stored(left_out, tmp_path):
    made = ship(left_out, tmp_path)
    read, dims = HalfPrecision.load(tmp_path), products(50, 9)
    for device in (devices()["NVIDIA_H200"], devices()["NVIDIA_RTX_PRO_6000"]):
        one, other = (model.forecast("gemm", "bf16", dims, device)["latency_ms"] for model in (made, read))
        assert one == pytest.approx(other, rel=1e-3)
    assert set(read.folds["gemm/bf16"]) == {"", "Ampere", "Ada", "Hopper", "Blackwell"}
    left = read.forecast("gemm", "bf16", dims, devices()["NVIDIA_H200"], ("Hopper",))["latency_ms"]
    fold = replace(left_out.fold("gemm/bf16", ("Hopper",)), decay=read.folds["gemm/bf16"]["Hopper"].decay)
    own = fold.forecast(dims, "bf16", devices()["NVIDIA_H200"])[1]
    assert left == pytest.approx(own, rel=1e-3)
    with pytest.raises(InputError, match="leave one out"):
        read.forecast("gemm", "bf16", dims, devices()["NVIDIA_H200"], ("Hopper", "Ada"))
    first = (tmp_path / "experts.safetensors").read_bytes()
    ship(
        LeaveOut(left_out.groups, left_out.devices, left_out.generations, progress=lambda _: None),
        tmp_path,
    )
    assert (tmp_path / "experts.safetensors").read_bytes() == first
    with pytest.raises(InputError, match="train it"):
        HalfPrecision.load(tmp_path / "nowhere")


def test_training_never_takes_all_rows_nor_flagged_ones():
    rows = synthetic("NVIDIA_H200", count=1000)
    taken = generations.shown(rows, 0)
    assert len(taken) < rows.good.sum()
    assert rows.good[taken].all()


def test_the_shipped_experts_repeat_their_record_on_a_sample(shipped, left_out):
    part = sampled(left_out.groups, 100, 0)
    table = shipped_errors(part, shipped, known_devices())
    assert len(table) == len(GPUS)
    assert (table["n"] <= 100).all()


def covered(kernels: pd.DataFrame, device: Device, model: HalfPrecision) -> pd.DataFrame:
    """The forecasts of those kernels that the experts cover."""
    nothing = {name: np.full(len(kernels), np.nan) for name in ("latency_ms", "low_ms", "high_ms")}
    nothing |= {name: np.full(len(kernels), None) for name in ("bound", "passport")}
    found = half_precision(of_table(kernels), nothing, device, model)
    return as_table(found).dropna(subset=["latency_ms"])


def test_half_precision_forecasts_carry_their_passport(shipped):
    kernels = pd.DataFrame(
        [
            {"family": "linear", "dtype": "bf16", "b": 1, "m": 64, "n": 4096, "k": 4096, "bytes_read": 1},
            {"family": "linear", "dtype": "fp32", "b": 1, "m": 64, "n": 4096, "k": 4096, "bytes_read": 1},
            {"family": "attention", "dtype": "bf16", "b": 512, "m": 1, "n": 2048, "k": 128,
             "bytes_read": 2 * (512 * 128 + 2 * 64 * 2048 * 128)},
            {"family": "norm", "dtype": "bf16", "b": 64, "m": 4096, "n": 0, "k": 0, "bytes_read": 1},
        ]
    ).assign(phase="forward", op="", bytes_written=1)  # fmt: skip
    known = covered(kernels, devices()["NVIDIA_H200"], shipped)
    assert sorted(known.index) == [0, 2]
    assert set(known["passport"]) == {HALF_PASSPORT}
    read_ms = 2 * 64 * 2048 * 128 * 2 / 4.8e12 * 1e3
    assert 0.5 * read_ms < known.loc[2, "latency_ms"] < 4 * read_ms
    assert covered(kernels, devices()["Tesla_P4"], shipped).empty
    assert covered(kernels, devices()["AMD_Instinct_MI300X"], shipped).empty


def test_fused_attention_backward_has_more_products_and_stays_under_the_peak(shipped):
    flops = 2 * 2 * 32 * 8192**2 * 128  # two products, every pair of tokens
    kernel = {"family": "attention", "dtype": "bf16", "b": 32, "m": 8192, "n": 8192, "k": 128, "bytes_read": 1}
    both = pd.DataFrame([kernel | {"phase": phase} for phase in ("forward", "backward")])
    both = both.assign(op="", bytes_written=1)
    for name in ("NVIDIA_A100-SXM4-80GB", "NVIDIA_H100_80GB_HBM3", "NVIDIA_B200"):
        device = devices()[name]
        known = covered(both, device, shipped)
        times = known.loc[1, "latency_ms"] / known.loc[0, "latency_ms"]
        assert 2.5 < times < 3.3
        for row, products in ((0, 1.0), (1, 2.5)):
            rate = flops * products / 2 / (known.loc[row, "latency_ms"] / 1e3)  # half the pairs: causal
            assert rate < device.peak_flops_per_s("bf16", matrix=True)


MADE_UP = {
    "sm_count": 170,
    "cores_per_sm": 128,
    "clock_hz": 2.1e9,
    "vector_flops_per_s": {"fp32": 91e12},
    "matrix_flops_per_s": {"bf16": 1.5e15, "fp8": 3.0e15},
    "memory_bytes": 160e9,
    "bandwidth_bytes_per_s": 6.0e12,
    "l2_bytes": 100e6,
    "power_w": 900,
}


@pytest.fixture
def made_up(tmp_path):
    path = tmp_path / "made_up.yaml"
    path.write_text(yaml.safe_dump(MADE_UP))
    return path


def test_a_product_on_a_made_up_gpu(made_up, capsys):
    assert main(["kernel", "--device", str(made_up), "--product", "8192x8192x8192"]) == 0
    said = capsys.readouterr().out
    assert "modern track" in said
    assert "bound by compute" in said
    model, device = HalfPrecision.load(), load_device(made_up)
    big = model.forecast("gemm", "bf16", {"m": [8192], "n": [8192], "k": [8192]}, device)["latency_ms"][0]
    assert 2e3 * 8192**3 / 1.5e15 < big < 2.5 * 2e3 * 8192**3 / 1.5e15
    assert main(["kernel", "--device", str(made_up), "--product", "8x8"]) == 1
    assert main(["kernel", "--device", str(made_up), "--product", "8x8x8", "--dtype", "nvfp4"]) == 1


LLAMA = Architecture("llama", 80, 8192, 64, 8, 128, 28672, 128256)


def test_a_decoding_step_reads_the_weights_at_least_once(made_up, shipped):
    """Llama 3.1 70B on one made-up GPU: between the time to read the weights and twice it."""
    device, total = load_device(made_up), 0.0
    for family, dtype, dims, count in layer_kernels(
        LLAMA, Formats("fp8", "fp8", "fp8"), Work(True, 8, 8, 2048), 1, 1
    ):
        columns = {name: [value] for name, value in zip(DIMENSIONS[family], dims, strict=True)}
        total += count * shipped.forecast(family, dtype, columns, device)["latency_ms"][0]
    read_ms = 70e9 / 6.0e12 * 1e3
    assert read_ms < total < 2.2 * read_ms


def test_tensor_parallel_shares_the_products_out():
    whole, quarter = (
        sum(2 * math.prod(dims) * count for family, _, dims, count in layer_kernels(
            LLAMA, Formats("bf16", "bf16", "bf16"), Work(True, 16, 16, 100), tp, 1) if family == "gemm")
        for tp in (1, 4)
    )  # fmt: skip
    assert quarter == pytest.approx(whole / 4)


def test_every_folder_of_the_wheel_has_its_device():
    assert set(known_devices()) == set(GENERATIONS)
    for device in known_devices().values():
        assert device.power_w
        assert device.matrix_flops_per_s["bf16"] > 0


@pytest.mark.parametrize("name", ["NVIDIA_A100-SXM4-80GB", "NVIDIA_H200", "NVIDIA_B200", "NVIDIA_L40S"])
def test_experts_products_take_what_measured_expert_layers_take(name: str) -> None:
    """Mixtral's experts with four tokens each: two batches of products against the layer that was timed."""
    device, model = load_device(name), shipped_experts()
    sizes = (16, 4096, 14336, 2, 8, 1, 1, 1.01)
    layer = dict(zip(DIMENSIONS["moe"], sizes, strict=True))
    measured = model.forecast("moe", "bf16", {key: np.array([float(n)]) for key, n in layer.items()}, device)
    rows = [("bmm", "bmm", 8, 4, 28672, 4096), ("bmm", "bmm", 8, 4, 4096, 14336)]
    table = pd.DataFrame(rows, columns=["family", "op", *"bmnk"]).assign(dtype="bf16", phase="forward")
    found = covered(complete(table), device, model)
    assert 0.8 < found["latency_ms"].sum() / measured["latency_ms"][0] < 1.2
    assert (found["passport"] == "extrapolated").all() and (found["high_ms"] > 1.3 * found["latency_ms"]).all()


def test_one_of_many_products_is_that_product_and_none_is_faster_than_the_hardware() -> None:
    device, model = load_device("NVIDIA_H200"), shipped_experts()
    one = {"b": 1.0, "m": 512.0, "n": 4096.0, "k": 1024.0}
    single = model.forecast("gemm", "bf16", {key: np.array([one[key]]) for key in "mnk"}, device)
    found = model.many_products("bf16", {key: np.array([size]) for key, size in one.items()}, device)
    assert found["latency_ms"] == single["latency_ms"]
    random = np.random.default_rng(0)
    dims = {key: np.exp(random.uniform(0, np.log(4096), 500)).round() for key in "bmnk"}
    found = model.many_products("bf16", dims, device)
    work = 2 * np.prod(list(dims.values()), axis=0)
    assert (found["latency_ms"] >= 1e3 * work / device.peak_flops_per_s("bf16", matrix=True)).all()
    assert (found["low_ms"] <= found["latency_ms"]).all()
