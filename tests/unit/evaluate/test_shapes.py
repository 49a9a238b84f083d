"""Shapes left out: the same on every GPU, in no fit, and forecast beside rivals."""

import numpy as np
import pytest

from tilecast.evaluate.shapes import PARTS, left_out_shapes, shapes_left_out, work_of
from tilecast.hardware.device_file import devices
from tilecast.predict.train.generations import Rows

pytest.importorskip("torch")
GPUS = ("NVIDIA_L40S", "NVIDIA_H100_80GB_HBM3")


def products(name, seed=0, count=240):
    draw = np.random.default_rng(seed)
    dims = {axis: np.exp2(draw.uniform(5, 13, count)).astype(int).astype(float) for axis in "mnk"}
    rows = Rows(dims, np.ones(count), np.ones(count, dtype=bool), np.full(count, np.nan))
    rows.measured_ms = 1.2 * rows.physics("gemm", "bf16", devices()[name]).base_ms
    return rows


def test_a_fifth_of_the_shapes_is_left_out_on_every_gpu_alike():
    one, other = (left_out_shapes(products(name), 0) for name in GPUS)
    assert (one == other).all() and 0.5 / PARTS < one.mean() < 2 / PARTS
    assert (left_out_shapes(products(GPUS[0]), 1) != one).any()
    near = products(GPUS[0])
    near.dims = {axis: np.exp2(np.floor(np.log2(1 + values))) - 1 for axis, values in near.dims.items()}
    assert (left_out_shapes(near, 0) == one).all()  # an octave is left out whole


@pytest.mark.slow
def test_a_fit_that_sees_none_of_them_is_judged_on_them_alone():
    groups = {"gemm/bf16": {name: products(name) for name in GPUS}}
    for rows in groups["gemm/bf16"].values():  # whoever fitted these would be far off everywhere else
        held = left_out_shapes(rows, 0)
        rows.measured_ms = np.where(held, 5 * rows.measured_ms, rows.measured_ms)
    table = shapes_left_out(groups, devices(), 0, lambda line: None)
    ours = table[(table["predictor"] == "tilecast") & (table["calls"] == "all")].set_index("generation")
    assert set(ours.index) == {"Ada", "Hopper"} and set(table["family"]) == {"gemm"}
    for name, generation in zip(GPUS, ("Ada", "Hopper"), strict=True):
        assert ours.loc[generation, "n"] == left_out_shapes(groups["gemm/bf16"][name], 0).sum()
        assert ours.loc[generation, "mape_percent"] == pytest.approx(80, abs=4)
    assert {"line", "efficiencies", "nearest", "grid", "roofline"} < set(table["predictor"])


@pytest.mark.parametrize("family", ["prefill", "decode"])
def test_attention_costs_rivals_what_physics_counts(family):
    length = "tokens" if family == "prefill" else "context"
    dims = {"batch": 4.0, length: 4096.0, "heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0, "window": 0.0}
    rows = Rows(
        {name: np.array([value]) for name, value in dims.items()}, np.ones(1), np.ones(1, bool), np.ones(1)
    )
    device = devices()[GPUS[1]]
    work, known = work_of(family, rows, device), rows.physics(family, "bf16", device)
    assert work.roofline_ms == pytest.approx(known.roofline_ms, rel=0.03)
    assert work.compute_ms == pytest.approx(known.floor_ms)
