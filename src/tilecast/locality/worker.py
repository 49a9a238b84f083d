"""One run in a process of its own: copies images in, runs a vision transformer, copies its output back.

    python -m tilecast.locality.worker REQUEST.json RESULT.json

The three stages have a stream each. The process is bound by numactl, and a profiler may record it. On the CPU
device the same pipeline runs with streams and events that do nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_text
from tilecast.graph.vit import VisionTransformer
from tilecast.locality.placement import allowed, pages_by_node
from tilecast.locality.vits import vit

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
STAGES = ("h2d", "compute", "d2h")
SLOTS = 2  # double buffers


class _Nothing:
    """Stream and event of the CPU device, which does one thing after the other."""

    def record(self, stream: Any = None) -> None:
        """Do nothing."""

    wait_event = synchronize = record


class Engine:
    """Streams, events, ranges and buffers of one device."""

    def __init__(self, device: str, gpu: int, ranges: str | None) -> None:
        self.cuda = device == "cuda"
        self.place = torch.device("cuda", gpu) if self.cuda else torch.device("cpu")
        if self.cuda:
            if gpu >= torch.cuda.device_count():
                raise TilecastError(f"torch {torch.__version__} has no CUDA device {gpu} here")
            torch.cuda.set_device(self.place)
        self.streams = {stage: torch.cuda.Stream() if self.cuda else _Nothing() for stage in STAGES}
        self.ranges = ranges  # recorded by `torch` for its profiler, by `nvtx` for Nsight Systems, or not at all
        self.recording = False  # ranges mark what is timed, not the warm-up

    @property
    def name(self) -> str:
        """The device's own name."""
        if self.cuda:
            return torch.cuda.get_device_name(self.place)
        found = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
        return found[0].partition(":")[2].strip() if found else "CPU"

    def event(self) -> Any:
        """An event that marks a place in a stream."""
        return torch.cuda.Event() if self.cuda else _Nothing()

    @contextlib.contextmanager
    def stage(self, stage: str, batch: int, size: int) -> Iterator[Any]:
        """Send the work inside to the stage's stream, in a range that names stage and batch.

        On the CPU device the range is the work itself, and states how many bytes it moves.
        """
        stream = self.streams[stage]
        name = f"{stage}:{batch}" if self.cuda else f"cpu {stage} {size}:{batch}"
        mark: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.recording:
            mark = torch.cuda.nvtx.range(name) if self.ranges == "nvtx" else torch.profiler.record_function(name)
        with torch.cuda.stream(stream) if self.cuda else contextlib.nullcontext(), mark:
            yield stream

    def synchronize(self) -> None:
        """Wait until all work is done."""
        if self.cuda:
            torch.cuda.synchronize(self.place)

    def host(self, like: Tensor) -> Tensor:
        """A host buffer, pinned for a GPU; touching its pages here puts them where the binding says."""
        return torch.zeros(like.shape, dtype=like.dtype, pin_memory=self.cuda)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def make_model(name: str, heads: int | None, dtype: str, place: torch.device) -> nn.Module:
    """The transformer with small random weights from a fixed seed; the no-op returns its input."""
    spec = vit(name, heads)
    torch.manual_seed(0)
    model: nn.Module = nn.Identity() if spec is None else VisionTransformer(spec.values)
    for label, parameter in model.named_parameters():
        if "norm" not in label and parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    return model.to(place, DTYPES[dtype]).eval()


class Pipeline:
    """Double buffers between three stages; a buffer is reused only when the next stage is done with it."""

    def __init__(self, engine: Engine, model: Callable[[Tensor], Tensor], batch_size: int, dtype: str) -> None:
        self.engine, self.model = engine, model
        shape = torch.empty(batch_size, 3, 224, 224, dtype=DTYPES[dtype], device="meta")
        self.host_in = [engine.host(shape) for _ in range(SLOTS)]
        for buffer in self.host_in:
            buffer.normal_()
        self.device_in = [torch.empty_like(buffer, device=engine.place) for buffer in self.host_in]
        result = model(self.device_in[0])
        self.host_out = [engine.host(result) for _ in range(SLOTS)]
        self.results: list[Tensor] = [result] * SLOTS
        self.done = {stage: [engine.event() for _ in range(SLOTS)] for stage in STAGES}

    def run(self, batches: int) -> None:
        """Run `batches` through the stages, and wait for the last output."""
        engine, done = self.engine, self.done
        for batch in range(batches):
            slot = batch % SLOTS
            if batch >= SLOTS:
                done["d2h"][slot].synchronize()  # the host takes the output before its buffers are used again
            with engine.stage("h2d", batch, self.host_in[slot].nbytes) as stream:
                self.device_in[slot].copy_(self.host_in[slot], non_blocking=True)
                done["h2d"][slot].record(stream)
            with engine.stage("compute", batch, 0) as stream:
                stream.wait_event(done["h2d"][slot])
                self.results[slot] = self.model(self.device_in[slot])
                done["compute"][slot].record(stream)
            with engine.stage("d2h", batch, self.host_out[slot].nbytes) as stream:
                stream.wait_event(done["compute"][slot])
                self.host_out[slot].copy_(self.results[slot], non_blocking=True)
                done["d2h"][slot].record(stream)
        engine.synchronize()

    def output_is_copied(self) -> bool:
        """Whether the host's output buffer holds the model's output for its input buffer."""
        expected = self.model(self.host_in[0].to(self.engine.place)).float().cpu()
        return bool(torch.allclose(self.host_out[0].float(), expected, rtol=0.02, atol=0.02))


def perform(request: dict[str, Any]) -> dict[str, Any]:
    """Make the run that `request` describes, and return what was measured."""
    if request["device"] == "cpu":
        torch.set_num_threads(1)  # two on busy cores wait for each other
    engine = Engine(request["device"], request["gpu"], request.get("ranges"))
    torch.backends.cuda.matmul.allow_tf32 = False
    with torch.inference_mode():
        model: Any = make_model(request["model"], request.get("heads"), request["dtype"], engine.place)
        if request["compiled"]:
            model = torch.compile(model)
        pipeline = Pipeline(engine, model, request["batch_size"], request["dtype"])
        pages: Counter[int] = Counter()
        for buffer in (*pipeline.host_in, *pipeline.host_out):
            found, method = pages_by_node(buffer.data_ptr(), buffer.nbytes)
            pages.update(found)
        pipeline.run(max(SLOTS, -(-request["warmup"] // request["batch_size"])))
        batches = max(SLOTS, -(-request["samples"] // request["batch_size"]))
        with _profiler(request.get("trace"), engine):
            started = time.perf_counter()
            pipeline.run(batches)
            seconds = time.perf_counter() - started
        copied = pipeline.output_is_copied()
    return {
        "device": request["device"],
        "device_name": engine.name,
        "batches": batches,
        "wall_s": seconds,
        "samples_per_s": batches * request["batch_size"] / seconds,
        "pages": {str(node): number for node, number in sorted(pages.items())},
        "pages_from": method,
        "allowed": allowed(),
        "output_copied": copied,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],  # of the whole machine: above its CPUs, others were in the way
        "torch": torch.__version__,
        "driver": _driver() if engine.cuda else None,
    }


def _driver() -> str | None:
    found = [line for line in _lines("/proc/driver/nvidia/version") if "Module" in line]
    return " ".join(found[0].split()) if found else None


@contextlib.contextmanager
def _profiler(trace: str | None, engine: Engine) -> Iterator[None]:
    """Record with torch's profiler into `trace` if it is named, else by Nsight Systems if ranges are for it."""
    engine.recording = engine.ranges is not None
    if trace is not None:
        activity = torch.profiler.ProfilerActivity
        kinds = [activity.CPU, activity.CUDA] if engine.cuda else [activity.CPU]
        with torch.profiler.profile(activities=kinds) as recorded:
            yield
        recorded.export_chrome_trace(trace)
        return
    nsight = engine.cuda and engine.ranges == "nvtx"
    if nsight:
        torch.cuda.profiler.start()
    yield
    if nsight:
        torch.cuda.profiler.stop()


def main(request: str, result: str) -> int:
    """Read the request, make the run, write the result; an error is one line."""
    try:
        done = perform(json.loads(Path(request).read_text(encoding="utf-8")))
    except (TilecastError, RuntimeError, OSError) as error:  # of a device, a compiler, a missing library
        words = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        print(f"error: {words[0]}", file=sys.stderr)
        return 1
    write_text(result, json.dumps(done, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
