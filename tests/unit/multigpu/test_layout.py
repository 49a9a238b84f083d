"""Layouts: what divides, what does not and why; dimensions of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.multigpu.layout import Layout, check, from_runs, in_runs, legal, stages

GPT, LLAMA, MIXTRAL = (equal_layers(load_model(name)) for name in ("gpt3_27", "llama2_70b", "mixtral_8x7b"))


@pytest.mark.parametrize(
    ("model", "layout", "reason"),
    [
        (GPT, Layout(tp=5), "32 heads do not divide by tp 5"),
        (LLAMA, Layout(tp=64), None),
        (GPT, Layout(pp=33), "32 layers are fewer than 33 pieces"),
        (GPT, Layout(dp=2, ep=2), "needs experts"),
        (MIXTRAL, Layout(dp=3, ep=3), "8 experts do not divide by ep 3"),
        (MIXTRAL, Layout(dp=2, ep=4), "ep 4 does not divide dp 2"),
        (MIXTRAL, Layout(dp=8, ep=4), None),
        (GPT, Layout(sequence_parallel=True), "needs tp above 1"),
        (GPT, Layout(pp=2, zero=2), "exchanged at every microbatch"),
        (GPT, Layout(pp=2, schedule="interleaved"), "interleaved has 2 or more"),
        (GPT, Layout(schedule="interleaved", interleave=2), "needs pp above 1"),
        (GPT, Layout(dp=3), "a batch of 64 does not divide by dp 3"),
        (GPT, Layout(dp=2, microbatch=3), "32 sequences a replica do not divide by microbatch 3"),
        (GPT, Layout(pp=3, schedule="interleaved", interleave=2), "64 microbatches do not divide by pp 3"),
        (GPT, Layout(cp=3), "1024 tokens do not divide by cp 3"),
        (GPT, Layout(dp=0), "dp is 0"),
        (GPT, Layout(zero=7), "zero 7"),
        (GPT, Layout(recompute="some"), "recompute 'some'"),
        (GPT, Layout(schedule="zigzag"), "schedule 'zigzag'"),
        (GPT, Layout(pp=4, stages=(7, 9, 9, 7)), None),
        (GPT, Layout(pp=2, schedule="interleaved", interleave=2, stages=[7, 9, 9, 7]), None),
        (GPT, Layout(pp=4, stages=(8, 8, 8, 9)), "stages 3x8,9: 33 layers in all, the model has 32"),
        (GPT, Layout(pp=3, stages=(8, 8, 8, 8)), "stages 4x8: 4 numbers of layers for the 3 pieces"),
        (GPT, Layout(pp=2, stages=(0, 32)), "stages 0,32: each has at least 1 layer"),
    ],
)
def test_a_layout_runs_or_says_why_not(model, layout, reason):
    found = legal(layout, model, layout.gpus, 64, 1024)
    assert (found is None) if reason is None else (reason in found)
    if reason is not None:
        with pytest.raises(InputError, match="choose ranks"):
            check(layout, model, None, 64, 1024)


def test_gpus_must_be_used_up():
    assert "= 8 GPUs, not 16" in legal(Layout(dp=4, tp=2), GPT, 16)


def test_layers_are_spread_evenly_and_the_ends_get_less():
    assert stages(32, 4) == (8, 8, 8, 8)
    assert stages(34, 4) == (8, 9, 9, 8)
    assert sum(stages(105, 16)) == 105
    assert max(stages(105, 16)) - min(stages(105, 16)) == 1


@given(st.lists(st.integers(0, 130), min_size=1, max_size=20))
def test_layers_of_stages_are_read_as_they_are_told(counts):
    assert from_runs(in_runs(counts)) == tuple(counts)
    layout = Layout(pp=len(counts), stages=counts)
    assert layout.stages == tuple(counts) and layout.label.endswith("stages" + in_runs(counts))


@pytest.mark.parametrize("text", ["", "8,", "8;8", "x8", "2x", "-1", "1e3", "99999x1", "8,8.0"])
def test_what_is_no_list_of_layers_is_one_line(text):
    with pytest.raises(InputError, match="is no list of layers"):
        from_runs(text)
