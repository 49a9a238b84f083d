"""Answers over models, GPUs, formats and batches, held against what engineers know: not against measurements."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

import tilecast as tc
from tilecast.hardware.device_file import load_device
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.multigpu.memory import end_parameters, layer_parameters
from tilecast.predict.half_precision import shipped
from tilecast.serving.passes import BF16, PassForecasts, Work

pytestmark = pytest.mark.slow
DENSE, MIXED = ("llama3_8b", "llama31_70b"), ("mixtral_8x7b", "qwen3_30b_a3b", "gpt_oss_120b", "deepseek_v3")
GPUS = ("A100-SXM-80GB", "H100", "H200", "B200")
STEPS = ((1, 1024), (16, 1024), (64, 1024), (64, 4096))  # sequences, tokens of each


@pytest.fixture(scope="module", params=[*DENSE, *MIXED])
def model(request: pytest.FixtureRequest) -> str:
    """Whose tests run together: they ask for the same forecasts."""
    return str(request.param)


@cache
def decoded(model: str, gpu: str, dtype: str) -> list[float]:
    return [
        tc.forecast(model, gpu, phase="decode", batch=batch, context=context, dtype=dtype).latency_ms
        for batch, context in STEPS
    ]


@cache
def served(model: str, gpu: str) -> list[float]:
    casts = PassForecasts(shipped(), load_device(gpu), None)
    for batch, context in STEPS:
        casts.add(equal_layers(load_model(model)), BF16, Work(True, batch, batch, context))
    return [one.total_ms for one in casts.passes()]


def read_ms(model: str, gpu: str, batch: int) -> float:
    """The time that the weights a step cannot do without take to be read."""
    shape, device = equal_layers(load_model(model)), load_device(gpu)
    shared, experts = layer_parameters(shape)
    taken = min(1.0, shape.top_k / shape.experts) if shape.experts else 0.0  # by one token; more tokens take more
    weights = shape.layers * (shared + taken * experts) + end_parameters(shape)[1]
    return 1e3 * 2 * weights / device.bandwidth_bytes_per_s


@pytest.mark.parametrize("gpu", GPUS)
def test_a_step_takes_its_weights_time_and_more_with_more_to_do(model: str, gpu: str) -> None:
    for times in (decoded(model, gpu, "bf16"), served(model, gpu)):
        assert times[0] > read_ms(model, gpu, 1)
        assert all(later >= 0.999 * sooner for sooner, later in pairwise(times))
        assert times[2] < 64 * times[0]  # sequences share weights


@pytest.mark.parametrize("gpu", GPUS)
def test_both_commands_say_much_the_same(model: str, gpu: str) -> None:
    """`forecast` has kernels as they are traced, `serve` whole expert layers as they were timed."""
    least, most = (0.9, 1.4) if model in DENSE else (0.6, 2.4)
    for one, other in zip(decoded(model, gpu, "bf16"), served(model, gpu), strict=True):
        assert least < one / other < most


def test_a_better_gpu_and_a_narrower_format_are_not_slower(model: str) -> None:
    times = {(gpu, dtype): decoded(model, gpu, dtype) for gpu in GPUS[1:] for dtype in ("bf16", "fp8")}
    for gpu in GPUS[1:]:
        for wide, narrow in zip(times[gpu, "bf16"], times[gpu, "fp8"], strict=True):
            assert narrow < 1.02 * wide
    for slower, faster in pairwise(GPUS[1:]):
        for dtype in ("bf16", "fp8"):
            for one, other in zip(times[slower, dtype], times[faster, dtype], strict=True):
                assert other < 1.05 * one
