"""Memory of a layout against published closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Assumptions, Layout
from tilecast.multigpu.memory import activation_bytes, cache_bytes, layer_parameters, memory, parameters

GPT = load_model("gpt3_27")
LLAMA = load_model("llama2_70b")
PURE = Assumptions(fragmentation=0.0, context_bytes=0.0)


def work(**changes) -> Workload:
    return replace(Workload(GPT, 32, 2048, "training", dtype="fp16", optimizer="adam"), **changes)


@pytest.mark.parametrize("tp", [1, 2, 8])
@pytest.mark.parametrize("split", [False, True])
def test_activations_of_a_layer_are_korthikantis(tp, split):
    """Equations 1, 2, 4 and 5, and s b h (34/t) with selective recomputation (arXiv 2205.05198, table 2)."""
    model, job = equal_layers(GPT), work()
    s, b, h, a = 2048, 4, model.hidden, model.heads
    layout = Layout(tp=tp, microbatch=b, sequence_parallel=split and tp > 1)
    whole = 10 / tp if layout.sequence_parallel else 10
    expected = s * b * h * (whole + 24 / tp + 5 * a * s / (h * tp))
    assert activation_bytes(model, job, layout)[0] == pytest.approx(expected, rel=1e-12)
    selective = replace(layout, recompute="selective")
    assert activation_bytes(model, job, selective)[0] == pytest.approx(s * b * h * (whole + 24 / tp), rel=1e-12)
    full = replace(layout, recompute="full")
    kept = 2 * s * b * h / (tp if layout.sequence_parallel else 1)
    assert activation_bytes(model, job, full)[0] == pytest.approx(kept, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 2, 4, 8, 64]), st.sampled_from([0, 1, 2, 3]))
def test_zero_shares_out_sixteen_bytes_a_parameter(dp, zero):
    """Rajbhandari et al. (arXiv 1910.02054, figure 1): 2 + 2 + 12 bytes, of which 12, 14 or 16 are shared out."""
    count = parameters(equal_layers(GPT))
    held = memory(work(batch_size=dp), Layout(dp=dp, zero=zero), 80e9, PURE).parts
    states = held["weights"] + held["gradients"] + held["optimizer"]
    shared = (0, 12, 14, 16)[zero]
    assert states == pytest.approx(count * (16 - shared + shared / dp), rel=1e-12)


def test_what_zero_shares_out_goes_to_the_ranks_of_data_and_context():
    """Mixtral: 16 bytes a parameter over dp x cp ranks, an expert's over those that hold it, dp x cp / ep."""
    model = load_model("mixtral_8x7b")
    shared, own = layer_parameters(equal_layers(model), ep=2)
    layers = equal_layers(model).layers
    rest = parameters(equal_layers(model)) - layers * sum(layer_parameters(equal_layers(model)))
    job = replace(work(), spec=model, batch_size=8)
    held = memory(job, Layout(dp=2, cp=4, ep=2, zero=3), 80e9, PURE).parts
    states = held["weights"] + held["gradients"] + held["optimizer"]
    assert states == pytest.approx(16 * ((layers * shared + rest) / 8 + layers * own / 4), rel=1e-12)


def test_single_precision_keeps_no_copy():
    held = memory(work(dtype="fp32"), Layout(), 80e9, PURE).parts
    assert held["weights"] + held["gradients"] + held["optimizer"] == 16 * parameters(equal_layers(GPT))


def test_keys_and_values_are_two_per_layer_head_and_token():
    """Llama-2-70B: 80 layers, 8 key-value heads of 128, half precision: 327,680 bytes a token."""
    model = equal_layers(LLAMA)
    job = Workload(LLAMA, 8, 1024, mode="inference", phase="decode", context=2047, dtype="fp16")
    assert cache_bytes(model, job, Layout(), 80) == 327_680 * 2048 * 8
    assert cache_bytes(model, job, Layout(tp=8), 80) == 327_680 * 2048
    assert cache_bytes(model, job, Layout(tp=16), 80) == 327_680 * 2048  # heads are copied, not split


def test_context_parallelism_divides_the_tokens_of_the_cache():
    job = Workload(LLAMA, 8, 1024, mode="inference", phase="decode", context=2047, dtype="fp16")
    assert cache_bytes(equal_layers(LLAMA), job, Layout(cp=2), 80) == 327_680 * 2048 * 8 / 2
    assert cache_bytes(equal_layers(LLAMA), job, Layout(tp=2, dp=2, cp=2), 80) == 327_680 * 2048 * 8 / 8


@pytest.mark.parametrize(("tp", "cp"), [(1, 1), (4, 1), (1, 2)])
def test_logits_are_single_precision_beside_two_inputs_in_half(tp, cp):
    """GPT-3 2.7B: 50,257 words, width 2560; a microbatch of 4 sequences of 2048 tokens."""
    model, tokens = equal_layers(GPT), 4 * 2048 / cp
    held = memory(work(), Layout(tp=tp, cp=cp, microbatch=4), 80e9, PURE).parts
    assert held["logits"] == tokens * (4 * model.vocab / tp + 2 * 2560 * 2)
    served = memory(work(mode="inference", phase="prefill", optimizer=None), Layout(tp=tp, cp=cp), 80e9, PURE)
    assert served.parts["logits"] == 2048 / cp * model.vocab / tp * 2  # what is sampled from stays in half


def test_the_first_stage_keeps_the_masks_of_the_embeddings_dropout():
    """A byte an element of every waiting microbatch; LLaMA has no dropout."""
    model, layout = equal_layers(GPT), Layout(pp=2, microbatch=4)
    layers = activation_bytes(model, work(), layout)[0] * model.layers / 2
    first, last = (stage["activations"] for stage in memory(work(), layout, 80e9, PURE).stages)
    assert first == 2 * (layers + 4 * 2048 * 2560)  # two microbatches wait on the first of two stages
    assert last == layers
    half = memory(work(), replace(layout, tp=2, sequence_parallel=True), 80e9, PURE).stages[0]["activations"]
    kept = activation_bytes(model, work(), replace(layout, tp=2, sequence_parallel=True))[0] * model.layers / 2
    assert half == 2 * (kept + 4 * 2048 * 2560 / 2)


def test_pipeline_stages_hold_what_is_theirs():
    """The first stage waits longest, the last has the logits; all stages together hold the model once."""
    layout = Layout(pp=4, microbatch=1)
    found = memory(work(), layout, 80e9, PURE)
    tied = equal_layers(GPT).vocab * equal_layers(GPT).hidden  # held twice: at both ends
    assert sum(stage["weights"] for stage in found.stages) == 2 * (parameters(equal_layers(GPT)) + tied)
    held = [stage["activations"] for stage in found.stages]
    assert held[0] > held[1] > held[2] > held[3]
    assert [stage["logits"] > 0 for stage in found.stages] == [False, False, False, True]
    assert found.fullest == 0


@pytest.mark.parametrize("tp", [1, 4])
def test_parameters_of_a_layer_by_hand(tp):
    """GPT-3 2.7B, h = 2560: 12 h h + 13 h, of which biases after a sum and norms are not divided (Megatron-LM)."""
    h, model = 2560, equal_layers(GPT)
    divided, whole = 12 * h * h + 3 * h + 4 * h, 2 * h + 4 * h
    assert layer_parameters(model, tp) == (divided / tp + whole, 0)
    llama, tp = (
        equal_layers(LLAMA),
        16 * tp,
    )  # 64 heads and 8 of keys and values, of 128; from tp 8 on those are copied
    attention = 8192 * 128 * (2 * 64 / tp + 2)
    assert layer_parameters(llama, tp) == (attention + 2 * 8192 + 3 * 8192 * 28672 / tp, 0)


def test_experts_are_divided_and_the_rest_is_not():
    model = equal_layers(load_model("mixtral_8x7b"))
    shared, own = layer_parameters(model)
    assert layer_parameters(model, ep=4) == (shared, own / 4)
    assert own == 8 * 3 * 4096 * 14336


def test_the_verdict_says_by_how_much():
    found = memory(work(), Layout(), 40e9, PURE)
    assert not found.fits
    assert found.verdict == f"does not fit by {(found.total_bytes - 40e9) / 1e9:.1f} GB"
    assert memory(work(), Layout(), 200e9, PURE).verdict.startswith("fits, ")


def test_every_stage_has_its_verdict():
    """One line for stages that follow each other and hold the same; the fullest is named."""
    uneven = memory(work(), Layout(pp=4, microbatch=1, stages=(5, 11, 8, 8)), 40e9, PURE)
    assert len(uneven.stage_verdicts) == 4 and uneven.fullest == 1
    for stage, line in enumerate(uneven.stage_verdicts):
        total = uneven.totals[stage]
        assert line.startswith(f"stage {stage} ") and f"{total / 1e9:.1f} of 40.0 GB" in line
        assert ("does not fit by" in line) == (total > 40e9) and ("the fullest" in line) == (stage == 1)
    alike = memory(work(batch_size=1), Layout(pp=8, microbatch=1), 40e9, PURE)
    assert [line.split(" ")[0] for line in alike.stage_verdicts] == ["stage", "stages", "stage"]
    assert alike.stage_verdicts[1].startswith("stages 1 to 6")


def test_sharded_training_gathers_layers_and_both_ends():
    """FSDP: two layers' weights, one's gradients whole and on their way, both ends as long as the step."""
    model = equal_layers(GPT)
    held = memory(work(batch_size=64), Layout(dp=64, zero=3, overlap=False), 80e9, PURE).parts
    ends = parameters(model) - model.layers * sum(layer_parameters(model))
    assert held["buffers"] == pytest.approx(2 * (4 * sum(layer_parameters(model)) + ends))


def test_interleaving_holds_more_and_gpipe_most():
    values = dict(GPT.values)
    job = replace(work(), spec=model_spec(values, "x", "x"))
    held = {
        name: memory(job, Layout(pp=4, schedule=name, interleave=chunks), 80e9, PURE).stages[0]["activations"]
        for name, chunks in (("1f1b", 1), ("interleaved", 2), ("gpipe", 1))
    }
    assert held["1f1b"] < held["interleaved"] < held["gpipe"]
