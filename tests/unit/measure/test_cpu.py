"""The CPU as a device: the clock, repeated timing, and a matrix product's rate against a loop written here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tilecast.base.errors import InputError  # noqa: E402
from tilecast.measure.backend import timed  # noqa: E402
from tilecast.measure.cpu import Cpu  # noqa: E402
from tilecast.measure.grid import FAMILIES, counts, grid, held  # noqa: E402
from tilecast.measure.kernels import action  # noqa: E402
from tilecast.measure.session import measure_one, records  # noqa: E402


@pytest.fixture(scope="module")
def cpu() -> Cpu:
    return Cpu(1)


def once_more(check: Callable[[], None]) -> None:
    """A check of real time may fail once: the machine is shared."""
    try:
        check()
    except AssertionError:
        check()


def test_a_sleep_is_timed_right(cpu: Cpu) -> None:
    def check() -> None:
        slept = []

        def sleep() -> None:  # a busy machine wakes late: how long it was is taken inside
            start = time.monotonic()
            time.sleep(0.02)
            slept.append(1e3 * (time.monotonic() - start))

        found = timed(cpu, sleep, 0.2, flush=False)
        assert found.repetitions >= 5
        own = float(np.median(slept[-found.repetitions :]))
        assert own >= 20
        assert found.latency_ms == pytest.approx(own, rel=0.05)

    once_more(check)


def test_nothing_is_faster_than_the_clock(cpu: Cpu) -> None:
    found = timed(cpu, lambda: None, 0.01, flush=False)
    assert 0 < cpu.resolution_ms < 0.1
    assert cpu.resolution_ms <= found.low_ms <= found.latency_ms <= found.high_ms


def test_a_matrix_product_has_the_rate_of_a_loop_of_its_own(cpu: Cpu) -> None:
    size = 384

    def reference() -> float:
        """FLOP/s of the median of a plain loop."""
        left, right = torch.rand(size, size), torch.rand(size, size)
        for _ in range(3):
            torch.mm(left, right)
        times = []
        for _ in range(30):
            start = time.perf_counter()
            torch.mm(left, right)
            times.append(time.perf_counter() - start)
        return 2 * size**3 / sorted(times)[len(times) // 2]

    row = {"family": "bmm", "op": "bmm", "dtype": "fp32", "b": 1, "m": size, "n": size, "k": size, "shape": ""}

    def check() -> None:
        found = measure_one(cpu, row, 0.1)
        assert found["outcome"] == "measured"
        share = 2 * size**3 / (found["warm_ms"] / 1e3) / reference()
        assert 0.3 < share < 1.05

    for attempt in range(3):  # both sides are medians, of a machine that others use
        try:
            check()
            return
        except AssertionError:
            if attempt == 2:
                raise


def test_measured_again_it_lies_within_the_spread(cpu: Cpu) -> None:
    run = action(
        {"family": "softmax", "op": "softmax", "dtype": "fp32", "b": 512, "m": 512, "n": 0, "k": 0}, "cpu"
    )

    def check() -> None:
        first, second = (timed(cpu, run, 0.1, flush=False) for _ in range(2))
        assert first.low_ms * 0.9 <= second.latency_ms <= first.high_ms * 1.1

    for attempt in range(3):
        try:
            check()
            return
        except AssertionError:
            if attempt == 2:
                raise


def test_flushing_makes_a_kernel_that_fits_the_cache_no_faster(cpu: Cpu) -> None:
    run = action(
        {"family": "elementwise", "op": "add", "dtype": "fp32", "b": 64, "m": 4096, "n": 0, "k": 0}, "cpu"
    )
    assert timed(cpu, run, 0.1).latency_ms > 0.8 * timed(cpu, run, 0.1, flush=False).latency_ms


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_kernel_of_the_grid_runs_and_reads_and_writes_what_is_counted(dtype: str) -> None:
    kernels = grid([dtype], limit_flops=2e7, limit_bytes=8e7, each=11)
    assert set(kernels["family"]) == set(FAMILIES)
    for row in records(kernels):
        made = action(row, "cpu")()
        read, written, flops = counts(row)
        assert held(row) >= read + written
        assert made.numel() == written, row
        assert read > 0 and flops >= 0
        assert made.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(InputError, match="give 1 to"):
        Cpu(10_000)


def test_the_profiler_names_a_models_operations(cpu: Cpu) -> None:
    layer = torch.nn.Linear(8, 8)
    names = [launch.name for launch in cpu.launches(lambda: torch.relu(layer(torch.ones(2, 8))))]
    assert "aten::linear" in names and "aten::relu" in names
    assert "aten::addmm" not in names  # inside linear


@pytest.mark.slow
def test_a_small_model_is_measured_whole_and_composed(
    cpu: Cpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    import json

    from tilecast.measure import models

    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_head": 2, "n_layer": 6,
        "n_positions": 64, "vocab_size": 97,
    }  # fmt: skip
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(config))
    kinds = [
        {"sequence_length": 16},
        {"phase": "decode", "context": 16},
        {"mode": "training", "sequence_length": 16},
    ]
    for kind in kinds:
        work = models.workload({"model": str(path), **kind})
        for _ in range(5):  # where a busy machine stretches a forward pass beyond the whole, it has no time
            row, timeline = models.measure_model(cpu, work, 0.05)
            if kind.get("mode") != "training" or row["forward_ms"]:
                break
        assert row["outcome"] == "measured" and row["passport"] == "measured", row
        assert row["latency_ms"] > 0 and len(timeline) == row["kernels"] > 20
        if kind.get("mode") == "training":
            assert 0 < row["forward_ms"] < row["latency_ms"]
            assert row["forward_ms"] + row["backward_ms"] == pytest.approx(row["latency_ms"])

    monkeypatch.setattr(models, "FITS", 0.0)
    times = iter([10.0, 14.0])
    monkeypatch.setattr(models, "_timed", lambda *_: models.Timing(value := next(times), value, 2 * value, 5))
    row, timeline = models.measure_model(cpu, models.workload({"model": str(path), "sequence_length": 16}), 0.05)
    assert (row["passport"], row["layers_timed"], timeline) == ("composed", "2, 4", [])
    assert row["latency_ms"] == pytest.approx(10 + (6 - 2) * (14 - 10) / 2)
    assert row["high_ms"] == pytest.approx(2 * row["latency_ms"])


def test_a_grid_is_the_same_every_time_and_keeps_its_limits() -> None:
    first, second = grid(["fp32", "bf16"], each=20), grid(["fp32", "bf16"], each=20)
    assert first.equals(second)
    assert not first.duplicated().any()
    halves = [
        first[first["dtype"] == dtype].drop(columns="dtype").reset_index(drop=True) for dtype in ("fp32", "bf16")
    ]
    assert halves[0].equals(halves[1])
    small = grid(["fp32"], limit_flops=1e8, limit_bytes=1e7, each=20)
    assert max(counts(row)[2] for row in records(small)) <= 1e8
    assert max(4 * held(row) for row in records(small)) <= 1e7
