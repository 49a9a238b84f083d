"""Graphs to kernel lists, and the artifact's rules of summing."""

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.graph.kernels import Kernel, KernelGraph
from tilecast.hardware.device_file import load_device
from tilecast.predict.artifact_graphs import compose, forecast_all, workloads
from tilecast.predict.baselines.roofline import Roofline
from tilecast.predict.kernel import complete
from tilecast.predict.model import forecast_model, forecast_traced, read_traced
from tilecast.predict.registry import load_predictor
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import write

CELL = {"model": "toy", "mode": "training", "sequence_length": 8, "batch_size": 1, "option": "none"}
DEVICE = load_device("H100")


class Slow(Roofline):
    """A roofline whose host takes a second a kernel."""

    def issue_ms(self, ops, phase, quantile=0.5):
        return np.full(len(ops), 1e3 * (1 + quantile))


def node(position, name, phase, kernel, dims, operator="x", repeated=False, order=0, read=64, written=64, **cell):
    row = {"position": position, "name": name, "operator": operator, "phase": phase, "order": order}
    more = {"kernel": kernel, "dims": dims, "input_elements": read, "output_elements": written}
    return CELL | cell | row | more | {"repeated": repeated, "source": "toy.csv"}


def forecast(*rows, layers=None):
    return forecast_all(Roofline(), workloads(pd.DataFrame(rows), layers or {"toy": 3}), {DEVICE.name: DEVICE})


def test_dimensions_of_the_artifact_are_rows_inner_columns():
    work = workloads(pd.DataFrame([node(0, "a", "forward", "BMM", "2,3,4,5")]), {})
    row = work.distinct.iloc[0]
    assert (row["b"], row["m"], row["k"], row["n"], row["flops"]) == (2, 3, 4, 5, 2 * 2 * 3 * 4 * 5)


def test_layers_repeat_and_phases_are_kept_apart():
    one = forecast(node(0, "a", "forward", "Linear", "64,64,64"), node(0, "a", "backward", "Linear", "64,64,64"))
    many = forecast(
        node(0, "a", "forward", "Linear", "64,64,64", repeated=True),
        node(0, "a", "backward", "Linear", "64,64,64", repeated=True),
    )
    single, triple = one.cells.iloc[0], many.cells.iloc[0]
    assert triple["latency_ms"] == pytest.approx(3 * single["latency_ms"])
    assert triple["forward_ms"] == triple["backward_ms"] == pytest.approx(triple["latency_ms"] / 2)
    assert many.breakdown["latency_ms"].sum() == pytest.approx(triple["latency_ms"])
    assert len(many.operators) == 1


def test_a_pass_takes_as_long_as_its_host_and_the_rest_is_latency():
    rows = [
        node(0, "a", phase, "Linear", "64,64,64", repeated=True, option=option)
        for option in ("none", "fusion")
        for phase in ("forward", "backward")
    ]
    work = workloads(pd.DataFrame(rows), {"toy": 3})
    slow = forecast_all(Slow(), work, {DEVICE.name: DEVICE})
    fast = forecast_all(Roofline(), work, {DEVICE.name: DEVICE})
    waits = dict(zip(slow.cells["option"], slow.cells["latency_ms"] - fast.cells["latency_ms"], strict=True))
    assert waits == {"none": pytest.approx(2 * 3 * 1500, rel=1e-3), "fusion": 0}  # compiled: not one by one
    parts = slow.breakdown.groupby("option")["latency_ms"].sum()
    assert parts["none"] == pytest.approx(slow.cells.set_index("option").loc["none", "latency_ms"])
    waiting = slow.breakdown[slow.breakdown["family"] == "other"]
    assert waiting[["option", "bound"]].to_numpy().tolist() == [["none", "latency"]]
    span = slow.intervals.set_index("option").loc["none", ["low_ms", "high_ms"]].to_list()
    assert np.isnan(span).all()  # a roofline claims no interval, so neither does its sum


def test_traced_kernel_lists_are_summed_by_pass_and_held_up_by_the_host(tmp_path):
    columns = {"op": "linear", "dtype": "fp32", "b": 1, "m": 64, "n": 64, "k": 64, "operands": 2}
    rows = pd.DataFrame({"family": "linear", "phase": ["forward", "backward", "accumulation"], **columns})
    rows = complete(rows).assign(count=[4, 2, 1], module="a", layer="")
    write(rows[list(KERNEL_LIST.columns)], tmp_path / "toy-training-8-1.parquet", KERNEL_LIST)
    lists = read_traced([str(tmp_path / "toy-training-8-1.parquet")])
    once = Roofline().predict(rows.head(1), DEVICE)["latency_ms"].iloc[0]
    cell = forecast_traced(Roofline(), lists, {DEVICE.name: DEVICE}).iloc[0]
    assert (cell["forward_ms"], cell["backward_ms"]) == (pytest.approx(4 * once), pytest.approx(3 * once))
    assert forecast_traced(Slow(), lists, {DEVICE.name: DEVICE})["latency_ms"].iloc[0] == 7 * 1500


def test_a_model_of_unknown_depth_is_refused():
    with pytest.raises(InputError, match="layers"):
        forecast(node(0, "a", "forward", "Linear", "64,64,64", repeated=True), layers={"other": 2})


def test_a_fused_node_is_one_kernel_with_outer_bytes_and_all_work():
    rows = [
        node(0, "a~b", "forward", "VECadd", "8,8", operator="fused", order=0, read=128, written=64),
        node(0, "a~b", "forward", "VECln", "8,8", operator="fused", order=1, read=128, written=64),
    ]
    kernel = workloads(pd.DataFrame(rows), {}).distinct
    assert kernel["op"].tolist() == ["ln"]
    assert kernel["flops"].iloc[0] == 64 + 6 * 64
    assert kernel["bytes_read"].iloc[0] + kernel["bytes_written"].iloc[0] == 4 * (128 + 64)


def test_a_backward_kernel_moves_its_own_operands():
    kernel = workloads(pd.DataFrame([node(0, "a", "backward", "VECmul", "8,8")]), {}).distinct.iloc[0]
    assert kernel["bytes_read"] == 2 * 4 * 64
    assert kernel["node_bytes_per_element"] == 8


def test_links_are_assumed_only_where_the_artifact_does():
    rows = [node(0, "send", "forward", "ALLREDUCE", "1000000", option="tp4")]
    work = workloads(pd.DataFrame(rows), {})
    result = forecast_all(Roofline(), work, {"Tesla_T4": load_device("T4"), DEVICE.name: DEVICE})
    assert result.cells["device"].tolist() == [DEVICE.name]
    assert result.cells["latency_ms"].iloc[0] == pytest.approx(3 * 4e6 / (0.72 * 450 * 2**30) * 1e3)
    own = forecast_all(Tilecast.load(), work, {DEVICE.name: DEVICE})  # has a model of several GPUs
    assert own.cells.empty


def nodes(*rows):
    columns = ["name", "repeats", "forward_ms", "backward_ms"]
    return pd.DataFrame(rows, columns=columns).assign(mode="training")


def test_data_parallel_gradients_hide_behind_the_backward_pass():
    free = nodes(("a_grad", 1, 0.0, 1.0), ("a", 1, 1.0, 5.0), ("b_grad", 1, 0.0, 1.0), ("b", 1, 1.0, 5.0))
    # b: computed at 5, sent until 6; a: computed at 10, sent until 11
    assert compose(free, "dp4") == pytest.approx(2 + 11)
    slow = free.assign(backward_ms=[20.0, 5.0, 20.0, 5.0])
    assert compose(slow, "dp4") == pytest.approx(2 + 5 + 20 + 20)


def test_a_pipeline_of_four_stages():
    rows = nodes(("in", 1, 1.0, 1.0), ("h", 4, 2.0, 4.0), ("sendrecv", 1, 0.5, 0.5), ("out", 1, 3.0, 3.0))
    # in + 4 stages of one layer + out, links crossed 3 x 2 + 1 times forward and 4 times backward
    assert compose(rows, "pp4_1") == pytest.approx(2 + 4 * 6 + 6 + 7 * 0.5 + 4 * 0.5)


def test_no_graphs_give_empty_tables():
    columns = list(node(0, "a", "forward", "BMM", "1,1,1,1"))
    result = forecast_all(Roofline(), workloads(pd.DataFrame(columns=columns), {}), {DEVICE.name: DEVICE})
    assert result.cells.empty and result.intervals.empty


def graph(**about):
    """Ten small products forward, told as a traced graph."""
    product = Kernel(
        "linear", "linear", "forward", "fp32", 1, 64, 64, 64, 2, 2 * 64**3, 2 * 4 * 64 * 64, 4 * 64 * 64
    )
    told = {"model": "toy", "mode": "inference", "dtype": "fp32", "optimizer": None, "parameters": 1}
    told |= {"phase": "prefill", "context": 0, "batch_size": 1, "sequence_length": 8} | about
    return KernelGraph(told, (((product, "a"),),), ((0, ""),) * 10, (((), ()),) * 10)


def test_a_model_waits_for_its_host_and_its_interval_for_another():
    eager = forecast_model(graph(), Slow(), DEVICE)
    assert eager["latency_ms"] == pytest.approx(10 * 1500, rel=1e-3)
    assert eager["top"][0]["op"] == "wait for the host" and eager["bounds"]["latency"] > 0.99
    assert sum(eager["classes_ms"].values()) == pytest.approx(eager["latency_ms"])
    fused = forecast_model(graph(fused=True), Slow(), DEVICE)
    assert fused["latency_ms"] == pytest.approx(forecast_model(graph(), Roofline(), DEVICE)["latency_ms"])
    tilecast = forecast_model(graph(), load_predictor("tilecast"), DEVICE)
    low, middle, high = (tilecast[name] for name in ("low_ms", "latency_ms", "high_ms"))
    assert low < middle < high and high - middle > 10 * 0.005  # a slow host takes that much more
