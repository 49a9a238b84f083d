"""The CUDA backend's decisions under a played torch.cuda; what needs a GPU is marked, and skipped without one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from scripted_cuda import Layer, scripted  # noqa: E402

from tilecast.base.errors import InputError  # noqa: E402
from tilecast.measure.backend import timed  # noqa: E402
from tilecast.measure.cuda import Cuda  # noqa: E402
from tilecast.measure.describe import describe, device_of, open_backend  # noqa: E402
from tilecast.measure.nvml import Nvml  # noqa: E402
from tilecast.measure.session import measure_one  # noqa: E402

ROW = {"family": "bmm", "op": "bmm", "dtype": "fp32", "b": 1, "m": 8, "n": 8, "k": 8, "shape": ""}


def quiet() -> Layer:
    """A GPU whose clock nothing moves but what a test has it run."""
    layer = Layer()
    layer.step_ms = 0.0
    return layer


def takes(layer: Layer, milliseconds: float) -> Callable[[], None]:
    def action() -> None:
        layer.clock += milliseconds

    return action


def test_events_time_the_action_and_not_what_is_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = quiet()
    device = scripted(layer)
    flushed = []
    device._buffer = SimpleNamespace(zero_=lambda: flushed.append(takes(layer, 7.0)()))
    found = timed(device, takes(layer, 0.25), 0.01)
    assert (found.latency_ms, found.low_ms, found.high_ms) == pytest.approx((0.25, 0.25, 0.25))
    assert len(flushed) == found.repetitions == 25
    assert layer.slept == 2  # un-flushed warm-up is queued behind a wait
    assert timed(device, takes(layer, 0.0), 0.01).latency_ms == device.resolution_ms


def test_no_gpu_is_one_line_that_says_what_to_do() -> None:
    absent = Layer()
    absent.present = False
    with pytest.raises(
        InputError, match=r"no CUDA device is visible to torch; use --device cpu, or measure\.mode"
    ):
        scripted(absent)
    with pytest.raises(InputError, match="expected auto, cpu or cuda"):
        open_backend("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_refused_and_auto_takes_the_cpu() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        open_backend("cuda")
    assert open_backend("auto").place == "cpu"


def test_a_trace_gives_kernel_grid_and_block() -> None:
    events = [
        {"cat": "kernel", "name": "second", "ts": 30, "dur": 5, "args": {"grid": [4, 2, 1], "block": [128, 1, 1]}},
        {"cat": "gpu_memset", "name": "first", "ts": 10, "dur": 2},
        {"cat": "cpu_op", "name": "aten::bmm", "ts": 1, "dur": 100},
    ]
    launches = scripted(Layer(), {"traceEvents": events}).launches(lambda: None)
    assert [(one.name, one.start_ms, one.duration_ms, one.grid) for one in launches] == [
        ("first", 0.0, 0.002, ""),
        ("second", 0.02, 0.005, "4x2x1"),
    ]


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        ({}, "may lack the right"),
        (RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES\nx"), "INSUFFICIENT_PRIVILEGES"),
    ],
)
def test_no_right_to_profile_costs_the_kernels_name_alone(trace: Any, words: str) -> None:
    device = scripted(Layer(), trace)
    row = measure_one(device, ROW, 0.001)
    assert row["outcome"] == "measured" and row["kernel_name"] is None and row["clock_hz"] is None
    assert measure_one(device, ROW | {"m": 16}, 0.001)["outcome"] == "measured"
    notes = device.facts()["notes"]
    assert len(notes) == 2 and "no driver here" in notes[0] and words in notes[1]


def test_formats_a_gpu_lacks_fail_by_name() -> None:
    layer = Layer("Tesla T4")
    layer.properties.major = 7
    row = measure_one(scripted(layer), ROW | {"dtype": "bf16"}, 0.001)
    assert (row["outcome"], row["reason"]) == ("failed", "Unsupported") or "bf16 is not measured" in row["reason"]


def test_a_known_gpu_is_described_by_its_maker_and_an_unknown_one_by_its_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = describe(scripted(Layer()))
    assert known["known"] == known["name"] == "NVIDIA_H200"
    assert device_of(known).bandwidth_bytes_per_s == 4.8e12
    from tilecast.measure import describe as module

    monkeypatch.setattr(module, "_product_rate", lambda device, dtype: {"fp32": 5e13}.get(dtype, 8e14))
    monkeypatch.setattr(module, "_copy_rate", lambda device: 3e12)
    found = device_of(describe(scripted(Layer("NVIDIA H999"))))
    assert (found.name, found.sm_count, found.cores_per_sm, found.bandwidth_bytes_per_s) == (
        "NVIDIA_H999",
        132,
        128,
        3e12,
    )
    assert found.peak_flops_per_s("bf16", matrix=True) == 8e14
    assert found.peak_flops_per_s("fp32", matrix=False) == pytest.approx(5e13)


class Library:
    """NVML that answers, and refuses power."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, *_: Any) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        text.value = b"580.1"
        return 0

    def nvmlDeviceGetPowerUsage(self, *_: Any) -> int:
        return 4  # no permission

    def _fill(self, value: int) -> Callable[..., int]:
        def answer(*arguments: Any) -> int:
            arguments[-1]._obj.value = value
            return 0

        return answer

    def __getattr__(self, name: str) -> Any:
        return self._fill({"nvmlDeviceGetClockInfo": 1980, "nvmlDeviceGetTemperature": 41}.get(name, 700_000))


def test_nvml_gives_what_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    nvml = Nvml.open("GPU-1")
    assert nvml.works and nvml.driver == "580.1"
    assert nvml.state() == {"clock_hz": 1980e6, "power_w": None, "temperature_c": 41.0}
    assert nvml.limits()["power_w"] == 700.0


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    nvml = Nvml.open()
    assert not nvml.works and "not installed" in nvml.why and nvml.driver is None
    assert nvml.state() == {"clock_hz": None, "power_w": None, "temperature_c": None}


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_a_product_is_timed_profiled_and_below_its_peak() -> None:
    device = Cuda()
    size = 4096
    row = measure_one(device, ROW | {"m": size, "n": size, "k": size}, 0.1)
    assert row["outcome"] == "measured" and row["kernel_name"] and row["grid"]
    known = describe(device)
    peak = device_of(known).peak_flops_per_s("fp32", matrix=True)
    assert 0.2 * peak < 2 * size**3 / (row["latency_ms"] / 1e3) < 1.1 * peak
    assert row["low_ms"] <= row["latency_ms"] <= row["high_ms"]


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_a_wait_of_known_length_is_timed_right() -> None:
    device = Cuda()
    clock = device._nvml.limits()["clock_hz"] or 1.5e9
    short, long = (
        timed(device, lambda cycles=cycles: torch.cuda._sleep(cycles), 0.05, flush=False).latency_ms
        for cycles in (int(clock * 2e-3), int(clock * 6e-3))
    )
    assert long / short == pytest.approx(3, rel=0.05)


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_too_large_a_kernel_is_out_of_memory_and_the_next_one_runs() -> None:
    device = Cuda()
    edge = int((device.memory_bytes / 4 / 2.2) ** 0.5)  # two of three such matrices fit
    row = measure_one(device, ROW | {"m": edge, "n": edge, "k": edge}, 0.01)
    assert row["outcome"] == "out of memory"
    assert measure_one(device, ROW, 0.01)["outcome"] == "measured"
