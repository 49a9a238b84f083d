"""Roofline, Li et al., Habitat and NeuSight on kernels small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.hardware.device import row_of_table
from tilecast.hardware.device_file import load_device
from tilecast.predict.baselines import neusight
from tilecast.predict.baselines.habitat import Habitat, references_of
from tilecast.predict.baselines.li import Li
from tilecast.predict.baselines.roofline import Roofline
from tilecast.predict.kernel import complete
from tilecast.predict.registry import specifications
from tilecast.predict.tilecast import Tilecast
from tilecast.predict.train.leave_one_out import leave_one_out
from tilecast.predict.weights import write_record

T4, V100, H100 = (load_device(name) for name in ("T4", "V100", "H100"))
DEVICES = {device.name: device for device in (T4, V100, load_device("P100"), load_device("P4"))}


def linear(m=1024, n=4096, k=1024, **more):
    return pd.DataFrame([{"family": "linear", "op": "linear", "b": 1, "m": m, "n": n, "k": k} | more])


def vector(family="elementwise", op="add", b=16384, m=1024, **more):
    return pd.DataFrame([{"family": family, "op": op, "b": b, "m": m} | more])


def test_others_models_take_the_artifacts_figures_of_a_gpu_and_ours_the_makers():
    wrong = row_of_table(replace(T4, clock_hz=7.0), "made up")
    for predictor, clock in ((Roofline(), 7.0), (Tilecast.load(), T4.clock_hz)):
        assert specifications(predictor, pd.DataFrame([wrong]))[T4.name].clock_hz == clock


def test_work_is_counted_from_dimensions():
    row = complete(linear(2, 3, 4)).iloc[0]
    assert (row["flops"], row["bytes_read"], row["bytes_written"]) == (48, 4 * (8 + 12), 4 * 6)
    row = complete(vector(b=2, m=8, dtype="fp16")).iloc[0]
    assert (row["operands"], row["bytes_read"], row["bytes_written"]) == (2, 64, 32)


@pytest.mark.parametrize("change", [{"dtype": "fp31"}, {"n": 0}, {"m": -1}, {"family": "magic"}])
def test_what_is_no_kernel_is_refused(change):
    with pytest.raises(InputError):
        Roofline().predict(linear(**change), T4)


def test_roofline_is_peak_or_bandwidth():
    large, small = (
        Roofline().predict(pd.concat([linear(8192, 8192, 8192), linear(1, 8192, 8192)]), T4).itertuples()
    )
    assert large.bound == "compute"
    assert large.latency_ms == pytest.approx(2 * 8192**3 / 8.1e12 * 1e3)
    assert small.bound == "bandwidth"
    assert small.latency_ms == pytest.approx(4 * (8192 * 8192 + 2 * 8192) / (320 * 2**30) * 1e3)


def test_half_precision_uses_the_matrix_units():
    kernel = pd.concat([linear(8192, 8192, 8192, dtype=name) for name in ("bf16", "fp32")])
    half, single = Roofline().predict(kernel, H100)["latency_ms"]
    assert single / half == pytest.approx(989.4 / 66.9)


def measured(slope, device, family="linear", op="linear"):
    rows = pd.concat([linear(m, family=family, op=op) for m in (512, 1024, 2048, 4096)])
    rows["latency_ms"] = 1e3 * (slope * complete(rows)["flops"] + 1e-5)
    return rows.assign(device=device.name, split="train", dtype="fp32")


def test_li_finds_the_line_and_extrapolates_its_rate_by_bandwidth():
    rate = {device.name: 10 * device.bandwidth_bytes_per_s for device in DEVICES.values()}
    table = pd.concat([measured(1 / rate[device.name], device) for device in DEVICES.values()])
    li = Li.fit(table, DEVICES)
    assert li.line("linear", T4) == pytest.approx((1 / rate[T4.name], 1e-5))
    assert li.line("linear", H100) == pytest.approx((1 / (10 * H100.bandwidth_bytes_per_s), 0.0))
    again = leave_one_out(lambda rest: Li.fit(rest, DEVICES), table, DEVICES)
    assert set(again["device"]) == set(DEVICES) and (again["mape_percent"] < 20).all()


def test_li_survives_its_file(tmp_path):
    table = pd.concat([measured(1e-13, device) for device in DEVICES.values()])
    li = Li.fit(table, DEVICES)
    (tmp_path / "lines.json").write_text(li.to_json())
    write_record(tmp_path, {}, ["lines.json"])
    assert Li.load(tmp_path).lines == li.lines
    with pytest.raises(InputError, match="tilecast train"):
        Li.load(tmp_path / "nowhere")


def test_habitat_scales_the_reference_by_bandwidth():
    rows = vector().assign(device=V100.name, split="train", dtype="fp32", latency_ms=1.0)
    habitat = Habitat({}, references_of(rows, DEVICES))
    same = habitat.predict(vector(), H100)["latency_ms"].iloc[0]
    assert same == pytest.approx(900 / 3350)
    twice = habitat.predict(vector(m=2048), H100)["latency_ms"].iloc[0]
    assert twice == pytest.approx(2 * same)


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("ampere_sgemm_128x64_tn", (128, 64)),
        ("void cutlass::Kernel<cutlass_80_simt_sgemm_256x128_8x4_tn_align1>(...)", (256, 128)),
        ("sm90_xmma_gemm_f32f32_tilesize64x32x8_stage3", (64, 32)),
        ("Cijk_Ailk_Bljk_SB_MT128x96x16", (128, 96)),
        ("memset", (0, 0)),
    ],
)
def test_tiles_are_read_from_kernel_names(name, tile):
    row = linear().assign(kernel_name=name, grid=1)
    assert tuple(neusight.profiled_tiles(row)[0]) == tile


def test_waves_count_blocks_over_multiprocessors():
    dims = neusight.dimensions(complete(linear(1000, 1000, 512)))
    features = neusight.device_features(T4, "linear")
    cast = neusight.waves("linear", dims, np.array([[128.0, 64.0]]), features)
    assert cast.count[0] == np.ceil(np.ceil(1000 / 64) * np.ceil(1000 / 128) / 40)
    assert cast.roofline[0] == pytest.approx(8100)
    assert cast.gflop[0] == pytest.approx(2 * 64 * 512 * 128 * 40 / 1e9)
    full = cast.count * cast.seconds_per_wave(np.zeros(1), np.ones(1))
    assert full[0] >= 2 * 1000 * 1000 * 512 / 8.1e12


def flat_network(alpha, gamma):
    """Weights that give the same two outputs whatever the input."""
    sizes = [4, *[1] * 7, 3]
    weights = {}
    for place, (rows, columns) in enumerate(zip(sizes[1:], sizes)):
        weights |= {f"{place}.weight": np.zeros((rows, columns)), f"{place}.bias": np.zeros(rows)}
    return weights | {"7.bias": np.array([alpha, 0.0, gamma])}


def profile():
    rows = linear().assign(device=T4.name, kernel_name="sgemm_128x64", grid=1, split="train")
    more = vector().assign(device=T4.name, kernel_name="add", grid=16384 * 1024 // 512, split="train")
    return neusight.profiles_of(pd.concat([rows, more]), DEVICES)


def test_neusight_divides_the_roofline_by_the_utilisation():
    predictor = neusight.NeuSight({"linear": flat_network(-50, 0)}, profile())  # utilisation one half
    kernel = linear(64 * 40, 128 * 40, 512)  # 40 x 40 blocks: 40 full waves
    result = predictor.predict(kernel, T4).iloc[0]
    assert result["latency_ms"] == pytest.approx(2 * 2 * 2560 * 5120 * 512 / 8.1e12 * 1e3, rel=1e-6)
    assert (result["bound"], result["passport"]) == ("compute", "predicted")


def test_a_kernel_without_utilisation_costs_nothing_and_is_counted():
    predictor = neusight.NeuSight({"linear": flat_network(50, 0)}, profile())
    assert predictor.predict(linear(64, 128, 64), T4)["latency_ms"].iloc[0] == 0
    assert predictor.clamped == 1


def test_profiles_survive_packing():
    before = profile()
    after = neusight.unpack_profiles(neusight.pack_profiles(before))
    assert set(after) == {"linear", "add"}
    for op, found in after.items():
        assert np.array_equal(found.points, before[op].points) and np.array_equal(found.tiles, before[op].tiles)
