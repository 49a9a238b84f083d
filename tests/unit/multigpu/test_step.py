"""Steps on many GPUs: exact limits, volumes, what may never get slower, one layout against many."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.api.steps import chrome_trace, spent_lines, step_values
from tilecast.base.errors import InputError
from tilecast.graph.tracer import trace
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu import collectives
from tilecast.multigpu.kernels import Run
from tilecast.multigpu.layout import Assumptions, Layout, Layouts, legal
from tilecast.multigpu.memory import layer_parameters
from tilecast.multigpu.schedule import FORWARD
from tilecast.multigpu.shard import Shape
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.kernel import wait_ms
from tilecast.predict.model import forecast_model
from tilecast.predict.registry import load_predictor

ROOT = Path(__file__).resolve().parents[3]
SMALL = replace(load_model("gpt2"), name="small")
WORK = Workload(SMALL, 16, 256, "training", dtype="bf16", optimizer="adam")
MOE = {
    "model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 1000, "max_position_embeddings": 512, "tie_word_embeddings": False,
}  # fmt: skip


@cache
def forecaster(system: str = "dgx_h100", predictor: str = "roofline") -> StepForecaster:
    return StepForecaster(WORK, load_system(system), load_device("H100"), load_predictor(predictor))


def faster(original: StepForecaster, share: float) -> StepForecaster:
    """The same forecaster with every link `share` times as fast."""
    other = StepForecaster(
        original.work, original.links.system, original.device, original.predictor, Assumptions(link_share=share)
    )
    other.kernels = original.kernels
    return other


LAYOUTS = st.builds(
    Layout,
    dp=st.sampled_from([1, 2, 4, 16]),
    tp=st.sampled_from([1, 2, 4]),
    pp=st.sampled_from([1, 2, 3, 4]),
    cp=st.sampled_from([1, 2]),
    microbatch=st.sampled_from([1, 2]),
    schedule=st.sampled_from(["gpipe", "1f1b", "interleaved"]),
    interleave=st.sampled_from([1, 2]),
    recompute=st.sampled_from(["none", "selective", "full"]),
    zero=st.sampled_from([0, 1, 2, 3]),
    sequence_parallel=st.booleans(),
    overlap=st.booleans(),
).filter(lambda layout: legal(layout, WORK.architecture, None, WORK.batch_size, WORK.sequence_length) is None)


@pytest.mark.parametrize("predictor", ["roofline", "tilecast"])
@pytest.mark.parametrize("kind", [{"mode": "training", "optimizer": "adam"}, {"mode": "inference"}])
def test_one_gpu_is_what_the_predictor_says(predictor, kind):
    known, device = load_predictor(predictor), load_device("A100-40GB")
    work = Workload(SMALL, 2, 256, dtype="fp32", **kind)
    graph = trace(SMALL, sequence_length=256, batch_size=2, dtype="fp32", **kind)
    expected = forecast_model(graph, known, device)["latency_ms"]
    step = StepForecaster(work, load_system("dgx_a100"), device, known).step(Layout(microbatch=2))
    assert step.latency_ms == pytest.approx(expected, rel=1e-12)
    assert all(step.parts[part] == 0 for part in ("tp", "ep", "cp", "dp", "pp"))
    assert step.parts["bubble"] == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(LAYOUTS, st.sampled_from(["dgx_h100", "l40s"]), st.floats(1.0, 8.0))
def test_faster_links_never_slow_anything(layout, system, share):
    slow = forecaster(system)
    if layout.gpus > slow.links.system.gpus:
        return
    assert faster(slow, share).latencies([layout])[0] <= slow.latencies([layout])[0] * (1 + 1e-12)


@settings(max_examples=30, deadline=None)
@given(LAYOUTS)
def test_a_layout_alone_and_among_many(layout):
    """`step` and `latencies` agree; parts add up; the interval holds the forecast; stages end with the step."""
    step = forecaster().step(layout)
    many = forecaster().latencies([Layout(), layout, layout])
    assert many[1:] == pytest.approx(step.latency_ms, rel=1e-12)
    assert sum(step.parts.values()) == pytest.approx(step.latency_ms, rel=1e-9)
    assert step.low_ms <= step.latency_ms <= step.high_ms
    for stage in step.stages:
        assert sum(stage.values()) == pytest.approx(step.latency_ms, rel=1e-9)
        assert min(stage.values()) > -1e-9
    expected = 2 * layout.pp * layout.interleave * layout.microbatches(WORK.batch_size)
    assert len(step.events) == expected


def test_layouts_that_differ_in_one_thing_are_not_taken_for_each_other():
    known = forecaster()
    kinds = product((1, 2), (0, 3), (True, False), (1, 2))
    layouts = [Layout(dp=2, cp=cp, zero=zero, overlap=overlap, tp=tp) for cp, zero, overlap, tp in kinds]
    alone = [known.step(layout).latency_ms for layout in layouts]
    assert known.latencies(layouts) == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipeline_of_inference_has_passes_forward_alone_and_ends_with_the_last(blocking):
    work, assume = Workload(SMALL, 16, 256, dtype="bf16"), Assumptions(blocking_sends=blocking)
    known = StepForecaster(work, load_system("dgx_h100"), load_device("H100"), load_predictor("roofline"), assume)
    step = known.step(Layout(pp=4, microbatch=2))
    assert len(step.events) == 4 * 8 and {event.kind for event in step.events} == {FORWARD}
    assert max(event.end_ms for event in step.events) == pytest.approx(step.latency_ms, rel=1e-12)


def test_an_idle_link_costs_nothing():
    """Infinitely fast links leave the time of one GPU's share; with one rank of a kind none of it communicates."""
    known = forecaster()
    for layout in (Layout(microbatch=2), Layout(microbatch=1)):
        assert known.step(layout).latency_ms == faster(known, 1e3).step(layout).latency_ms
    parts = known.step(Layout(dp=4, pp=2)).parts
    assert parts["tp"] == parts["cp"] == parts["ep"] == 0


def volumes(monkeypatch, layout: Layout, work: Workload = WORK) -> Counter:
    """Bytes asked of each collective by one microbatch's pass through a layer, and by a step's gradients."""
    asked: Counter = Counter()
    known = StepForecaster(work, load_system("dgx_h100"), load_device("H100"), load_predictor("roofline"))

    def time(op, group, size, where=True, ends=3):
        if group[2] > 1 and np.all(where):
            asked[str(np.ravel(op)[0])] += float(np.sum(size))
        return np.zeros((ends, *np.shape(size)))

    monkeypatch.setattr(known.links, "time", time)
    ((_, one),) = Layouts.of([layout]).alike()
    known.traffic.expert_parallel(one, np.zeros((2, 3, 1, 1)))
    shared, own = (np.array([[count]]) for count in layer_parameters(work.architecture, layout.tp, layout.ep))
    known.traffic.gradients(one, shared, own, np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    return asked


@pytest.mark.parametrize(("tp", "cp"), [(1, 2), (2, 4), (8, 2)])
def test_keys_and_values_go_round_the_ring_of_context_parallelism(tp, cp, monkeypatch):
    """cp - 1 hops of both, in bf16; four tensors back. Mixtral's 4 heads of 32: eight ranks hold copies of one."""
    job = Workload(model_spec(MOE, "moe", "x"), 16, 256, "training", dtype="bf16", optimizer="adam")
    known = StepForecaster(job, load_system("dgx_h100"), load_device("H100"), load_predictor("roofline"))
    ((_, one),) = Layouts.of([Layout(tp=tp, cp=cp, microbatch=2)]).alike()
    asked = []

    def time(op, hop, size, where=True, ends=3):
        asked.append((op, float(np.max(size))))
        return np.full((ends, *np.shape(size)), 5.0)

    monkeypatch.setattr(known.links, "time", time)
    out = np.zeros((2, 3, 1, 1))
    known.traffic.context_parallel(one, out, np.zeros((1, 1)))  # attention that takes no time hides nothing
    keys = max(4 / tp, 1) * 32 * (2 * 256 / cp) * 2
    assert asked == [("send_recv", 2 * keys), ("send_recv", 4 * keys)]
    assert out[:, 1].ravel().tolist() == [(cp - 1) * 5.0] * 2


def test_the_rate_is_the_tokens_of_all_gpus_over_the_step():
    step = forecaster().step(Layout(dp=4, microbatch=4))
    assert step.tokens_per_s == pytest.approx(16 * 256 / (step.latency_ms / 1e3), rel=1e-12)


def test_volumes_are_the_closed_forms(monkeypatch):
    """Gradients: 2 bytes a parameter. A microbatch between tensor ranks: s b h elements; to experts: k of them."""
    layer = layer_parameters(WORK.architecture)[0]
    found = volumes(monkeypatch, Layout(dp=4, microbatch=2))
    assert found == {"all_reduce": pytest.approx(2 * layer)}
    found = volumes(monkeypatch, Layout(dp=4, microbatch=2, zero=1))
    assert found == {"reduce_scatter": pytest.approx(2 * layer), "all_gather": pytest.approx(2 * layer)}
    moe = Workload(model_spec(MOE, "moe", "x"), 16, 256, "training", dtype="bf16")
    sent = 2 * 256 * 2 * 256 * 2  # sequences, tokens, choices, hidden, bytes
    assert volumes(monkeypatch, Layout(dp=4, ep=4, microbatch=2), moe)["all_to_all"] == sent


def test_gradients_hide_behind_the_backward_pass_but_for_the_last_bucket():
    known = forecaster()
    step, apart = known.step(Layout(dp=8, microbatch=2)), known.step(Layout(dp=8, microbatch=2, overlap=False))
    assert 0 < step.parts["dp"] < apart.parts["dp"]
    assert step.parts["compute"] == apart.parts["compute"]


def test_full_recomputation_runs_the_layers_again():
    known = forecaster()
    plain, full = known.step(Layout(microbatch=2)), known.step(Layout(microbatch=2, recompute="full"))
    selective = known.step(Layout(microbatch=2, recompute="selective"))
    forward = known.kernels(Shape(1, 1, 1, 2, False)).ms("layer", "forward")
    once = WORK.architecture.layers * float(forward[0, 0]) * 8
    assert full.parts["recompute"] == pytest.approx(once, rel=1e-9)
    assert plain.parts["recompute"] == 0 < selective.parts["recompute"] < once
    assert full.memory.parts["activations"] < selective.memory.parts["activations"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.001, 0.1), st.floats(0.001, 0.1)), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(0.001, 0.1), st.floats(0.001, 0.1)), min_size=1, max_size=6),
    st.integers(1, 5),
)
def test_runs_wait_for_their_host_as_the_whole_list_does(first, layer, count):
    def run(rows):
        issued, busy = np.array(rows).T
        ends = (np.cumsum(issued) + np.cumsum(busy[::-1])[::-1]).max()
        return Run(np.full(3, issued.sum()), busy.sum(), np.full(3, ends))

    whole = np.array([*first, *(layer * count)]).T
    found = run(first).then(run(layer).times(count)).wait_ms[0]
    assert found == pytest.approx(wait_ms(whole[0], whole[1]), abs=1e-12)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_blocking_send_keeps_its_stage(blocking):
    """Two stages, one microbatch: either way two hops; with more, a blocked sender does nothing meanwhile."""
    known = forecaster()
    other = StepForecaster(
        WORK,
        known.links.system,
        known.device,
        known.predictor,
        Assumptions(blocking_sends=blocking, link_share=0.01),
    )
    other.kernels = known.kernels
    once, gpipe = other.step(Layout(dp=16, pp=2)), Layout(dp=4, pp=2, schedule="gpipe")
    ((_, two), (_, many)) = Layouts.of([Layout(dp=16, pp=2), gpipe]).alike()
    hop = float(other.traffic.send(two, 1)[0, 0])
    assert once.parts["pp"] == pytest.approx(2 * hop)
    share = other.step(gpipe).parts["pp"] / float(other.traffic.send(many, 1)[0, 0])
    assert share > 2 if blocking else share >= 2 - 1e-9


def test_a_training_run_is_slower_than_kernels_timed_one_by_one():
    from tilecast.predict.physics.throttle import SHARE, sustained

    kernels = {"family": np.array(["linear", "linear", "linear", "softmax"])}
    forecast = {
        "latency_ms": np.full(4, 1.0), "low_ms": np.full(4, 0.9), "high_ms": np.full(4, 1.1),
        "bound": np.array(["compute", "bandwidth", "compute", "compute"]),
        "passport": np.array(["modern track", "modern track", "predicted", "modern track"]),
    }  # fmt: skip
    found = sustained(kernels, forecast, load_device("H100"), "training")
    assert found["latency_ms"].tolist() == [SHARE["NVIDIA_H100_80GB_HBM3"], 1, 1, 1]
    assert sustained(kernels, forecast, load_device("H100"), "inference") is forecast
    assert sustained(kernels, forecast, load_device("L4"), "training")["latency_ms"][0] == 1.138


def test_compiled_code_does_not_wait_for_each_kernels_issue():
    """Decoding is held up by issue where kernels come one by one, and by weights where they do not."""
    work = Workload(SMALL, 1, 256, mode="inference", phase="decode", context=128, dtype="fp32")
    device, predictor = load_device("H100"), load_predictor("tilecast")
    eager, fused = (
        StepForecaster(replace(work, fused=flag), load_system("dgx_h100"), device, predictor).step(Layout())
        for flag in (False, True)
    )
    assert fused.parts["host"] == 0
    assert fused.latency_ms < 0.6 * eager.latency_ms
    streamed = fused.memory.parts["weights"] / device.bandwidth_bytes_per_s * 1e3
    assert streamed < fused.latency_ms


def test_errors_are_one_line():
    known = forecaster()
    with pytest.raises(InputError, match="needs 16384 GPUs, the system has"):
        known.step(Layout(dp=16, tp=4, pp=4, cp=64))
    alone = replace(load_system("a6000_bridged"), tiers=load_system("a6000_bridged").tiers[:1])
    with pytest.raises(InputError, match="no link between GPU"):
        StepForecaster(WORK, alone, load_device("H100"), load_predictor("roofline")).step(
            Layout(dp=4, microbatch=2)
        )
    served = replace(WORK, mode="inference", phase="decode", context=64, optimizer=None)
    with pytest.raises(InputError, match="decode with context parallelism"):
        StepForecaster(served, load_system("dgx_h100"), load_device("H100"), load_predictor("roofline")).step(
            Layout(cp=2, microbatch=2)
        )


def test_a_step_in_words_and_as_a_timeline():
    layout = Layout(dp=2, pp=4, microbatch=2, zero=1)
    step = forecaster().step(layout)
    values = step_values(step, WORK)
    assert values["parts_ms"] == pytest.approx(step.parts, abs=1e-8)
    assert any("waiting in the pipeline" in line for line in spent_lines(values | forecaster().described(layout)))
    rows = json.loads(json.dumps(chrome_trace(step)))["traceEvents"]
    drawn = [row for row in rows if row["ph"] == "X"]
    assert len([row for row in drawn if row["cat"] in ("forward", "backward")]) == len(step.events)
    assert max(row["ts"] + row["dur"] for row in drawn) == pytest.approx(step.latency_ms * 1e3)
    for stage in range(4):
        mine = sorted((row["ts"], row["ts"] + row["dur"]) for row in drawn if row["tid"] == stage)
        assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(mine))


def test_links_are_shared_by_groups_side_by_side():
    """On a node without NVSwitch, four pairs at once are slower than one; only GPUs in use send anything."""
    known = StepForecaster(WORK, load_system("l40s"), load_device("H100"), load_predictor("roofline"))
    alone = known.links.time("all_reduce", (0, 4, 2, 2), [1e8])[:, 0]
    together = known.links.time("all_reduce", (0, 4, 2, 8), [1e8])[:, 0]
    single = collectives.collective("all_reduce", load_system("l40s"), [0, 4], 1e8).latency_ms
    assert alone[0] == single < together[0]


LONG = replace(WORK, batch_size=64, sequence_length=1024)  # layers that take longer than their messages


@pytest.mark.parametrize(
    "layout", [Layout(dp=8, microbatch=8), Layout(dp=8, microbatch=8, zero=3), Layout(cp=2, microbatch=8)]
)
def test_hidden_communication_slows_the_kernels_beside_it(layout):
    """Kernels slower by c beside T ms of messages: max(T, C + T c / (1 + c)) in place of max(T, C)."""
    system, device, predictor = load_system("dgx_h100"), load_device("H100"), load_predictor("roofline")
    free, slowed, most = (
        StepForecaster(LONG, system, device, predictor, Assumptions(contention=share))
        for share in (0.0, 0.189, 0.4)
    )
    slowed.kernels = most.kernels = free.kernels
    part = "cp" if layout.cp > 1 else "dp"
    parts = [known.step(layout).parts for known in (free, slowed, most)]
    assert parts[0][part] < parts[1][part] < parts[2][part]
    assert parts[2][part] < most.step(replace(layout, overlap=False)).parts[part]
    assert parts[0]["compute"] == parts[1]["compute"]
    ten = np.array([10.0])
    known = StepForecaster(LONG, system, device, predictor, Assumptions(contention=0.25)).traffic
    assert known.beside(layout, ten, np.array([4.0])) == [6.0]
    assert known.beside(layout, ten, np.array([40.0])) == [10 * 0.25 / 1.25]
    assert known.beside(replace(layout, overlap=False), ten, np.array([40.0])) == [10.0]


def test_sharded_weights_are_copied_where_they_are_used(monkeypatch):
    """FSDP whose messages take no time: three copies of the parameters a microbatch; DDP makes two a step."""
    layout = Layout(dp=8, microbatch=2, zero=3)
    known = StepForecaster(WORK, load_system("dgx_h100"), load_device("H100"), load_predictor("roofline"))
    monkeypatch.setattr(
        known.links, "time", lambda op, group, size, where=True, ends=3: np.zeros((ends, *np.shape(size)))
    )
    pairs = known.step(replace(layout, zero=0)).parts["dp"]
    assert pairs > 0
    assert known.step(layout).parts["dp"] == pytest.approx(1.5 * pairs)


@settings(max_examples=25, deadline=None)
@given(LAYOUTS, st.data())
def test_layers_by_hand(layout, data):
    """Uneven stages: `step` and `latencies` agree, ends count where they run, memory holds every layer once."""
    pieces, layers = layout.pp * layout.interleave, WORK.architecture.layers
    cuts = sorted(data.draw(st.sets(st.integers(1, layers - 1), min_size=pieces - 1, max_size=pieces - 1)))
    counts = tuple(b - a for a, b in pairwise([0, *cuts, layers]))
    uneven = replace(layout, stages=counts)
    step = forecaster().step(uneven)
    assert forecaster().latencies([uneven])[0] == pytest.approx(step.latency_ms, rel=1e-12)
    assert len(step.memory.stages) == layout.pp
    even = replace(layout, stages=tuple(layout.pieces(layers)))
    assert forecaster().step(even).latency_ms == forecaster().step(layout).latency_ms
    weights = [sum(stage["weights"] for stage in forecaster().memory(x).stages) for x in (uneven, layout)]
    assert weights[0] == pytest.approx(weights[1])


def test_layers_spread_by_time_make_the_slowest_stage_as_fast_as_can_be():
    """Against every split of twelve layers over three stages: none makes a shorter step."""
    layout = Layout(pp=3, microbatch=1)
    splits = [(a, b, 12 - a - b) for a in range(1, 11) for b in range(1, 12 - a)]
    (found,) = forecaster().spread([layout])
    assert found in splits and found != (4, 4, 4)  # the head is worth some layers
    times = forecaster().latencies([replace(layout, stages=split) for split in splits])
    assert forecaster().latencies([replace(layout, stages=found)])[0] == pytest.approx(times.min(), rel=1e-3)
    assert times.min() < forecaster().latencies([layout])[0]
    assert forecaster().spread([replace(layout, stages=())])[0] == found
    assert forecaster().spread([Layout(pp=12, microbatch=1)])[0] == ()
