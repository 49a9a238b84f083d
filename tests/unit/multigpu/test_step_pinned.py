"""Forecasts of many kinds of layouts, pinned as scalar code found them, before steps were arithmetic on arrays.

`python tests/unit/multigpu/test_step_pinned.py` writes them anew: only where a forecast is meant to change.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Assumptions, Layout, legal
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.baselines.roofline import Roofline

PINNED = Path(__file__).with_name("pinned_steps.json")
ENDS = ("latency_ms", "low_ms", "high_ms")
MOE = {
    "model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 12,
    "num_attention_heads": 8, "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 1000, "max_position_embeddings": 512, "tie_word_embeddings": False,
}  # fmt: skip
GPT, EXPERTS = load_model("gpt2"), model_spec(MOE, "moe", "x")
TRAINING = {"mode": "training", "optimizer": "adam"}
RUNS = {
    "eager": (Workload(GPT, 48, 256, dtype="bf16", **TRAINING), "dgx_h100", Assumptions()),
    "fused": (
        Workload(GPT, 48, 256, dtype="fp16", attention="fused", fused=True, **TRAINING),
        "l40s",
        Assumptions(),
    ),
    "sends beside": (
        Workload(GPT, 48, 256, dtype="bf16", fused=True, **TRAINING),
        "jean_zay_a100",
        Assumptions(blocking_sends=False, tp_overlap=0.3, bucket_bytes=5e6, link_share=0.5, compute_share=0.9),
    ),
    "experts": (Workload(EXPERTS, 48, 256, dtype="bf16", fused=True, **TRAINING), "gb200_nvl72", Assumptions()),
    "prefill": (Workload(GPT, 48, 256, dtype="fp32"), "dgx_a100", Assumptions()),
    "decode": (
        Workload(GPT, 48, 256, dtype="bf16", phase="decode", context=200, fused=True),
        "dgx_h100",
        Assumptions(),
    ),
}


class Hosted(Roofline):
    """A roofline whose kernels a host launches one by one."""

    def issue_ms(self, ops: np.ndarray, phase: str, quantile: float = 0.5) -> np.ndarray:
        """A time that depends on everything it may depend on."""
        return np.array([0.002 + 0.001 * quantile * len(op) for op in ops]) * (2 if phase == "forward" else 1)


def drawn(work: Workload, gpus: int, count: int, seed: str) -> list[Layout]:
    """Random legal layouts, some with uneven stages."""
    draw, found = random.Random(seed), []
    while len(found) < count:
        pick = draw.choice
        schedule = pick(["gpipe", "1f1b", "interleaved"])
        layout = Layout(
            dp=pick([1, 2, 4, 8]), tp=pick([1, 2, 4]), pp=pick([1, 2, 3, 4, 6]), ep=pick([1, 2, 4]),
            cp=1 if work.phase == "decode" else pick([1, 2]), microbatch=pick([1, 2]), schedule=schedule,
            interleave=pick([2, 3]) if schedule == "interleaved" else 1,
            recompute=pick(["none", "selective", "full"]),
            zero=pick([0, 1, 2, 3]), sequence_parallel=pick([True, False]), overlap=pick([True, False]),
        )  # fmt: skip
        if (pieces := layout.pp * layout.interleave) <= 12 and draw.random() < 0.25:
            cuts = [0, *sorted(draw.sample(range(1, 12), pieces - 1)), 12]
            layout = replace(layout, stages=tuple(b - a for a, b in pairwise(cuts)))
        reason = legal(layout, work.architecture, None, work.batch_size, work.sequence_length)
        found += [layout] if reason is None and layout.gpus <= gpus else []
    return found


def forecaster(name: str) -> StepForecaster:
    work, system, assume = RUNS[name]
    described = load_system(system)
    return StepForecaster(work, described, load_device(described.device), Hosted(), assume)


def written() -> str:
    found = {}
    for name, (work, system, _) in RUNS.items():
        known = forecaster(name)
        rows = []
        for layout in drawn(work, load_system(system).gpus, 12, name):
            step = known.step(layout)
            figures = [*(getattr(step, end) for end in ENDS), step.memory.total_bytes]
            rows.append([asdict(layout), figures, list(step.parts.values())])
        found[name] = rows
    return (
        "{\n"
        + ",\n".join(f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "]" for name, rows in found.items())
        + "\n}\n"
    )


@pytest.mark.parametrize("name", RUNS)
def test_steps_are_those_of_the_scalar_code(name: str) -> None:
    """To rounding: sums of a pipeline in closed form are made in another order than event by event."""
    rows = json.loads(PINNED.read_text(encoding="utf-8"))[name]
    layouts, known = [Layout(**values) for values, *_ in rows], forecaster(name)
    for layout, (_, figures, parts) in zip(layouts, rows, strict=True):
        step = known.step(layout)
        assert [*(getattr(step, end) for end in ENDS), step.memory.total_bytes] == pytest.approx(
            figures, rel=1e-12
        )
        assert list(step.parts.values()) == pytest.approx(parts, rel=1e-9, abs=1e-9)
    assert known.latencies(layouts) == pytest.approx([figures[0] for _, figures, _ in rows], rel=1e-12)


if __name__ == "__main__":
    PINNED.write_text(written(), encoding="utf-8")
