"""Layouts as candidates of a search: memory, time, throughput and cost of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tilecast.hardware.device import Device
from tilecast.hardware.price import Prices, bill
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, legal
from tilecast.multigpu.memory import Memory
from tilecast.multigpu.step import Planner
from tilecast.planner.search import Candidate, Found, Space, layouts, search
from tilecast.serving.server import Server


class Layouts:
    """Layouts of one workload on one kind of GPU: evaluated, searched, explained."""

    def __init__(self, work: Workload, device: Device, prices: Prices, price: str) -> None:
        self.work, self.device, self.prices, self.price = work, device, prices, price

    def __call__(self, layouts: Sequence[Layout]) -> list[Candidate]:
        """Memory of every layout; time, throughput and cost of those that fit."""
        raise NotImplementedError

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds by part."""
        raise NotImplementedError

    def spread(self, layouts: Sequence[Layout]) -> list[Layout]:
        """Layouts to try besides `layouts`: pipelines with layers spread by time; of training alone."""
        return []

    def search(
        self,
        space: Space,
        gpus: int,
        objective: str,
        constraints: Mapping[str, float] | None = None,
        spread: bool = True,
    ) -> Found:
        """The layouts of `space` on exactly `gpus` GPUs, ranked."""
        model, training = self.work.architecture, self.work.mode == "training"
        batch = self.work.batch_size if training else None  # in serving the microbatch decides it

        def impossible(layout: Layout) -> str | None:
            return legal(layout, model, gpus, batch, self.work.sequence_length)

        tried, again = layouts(space, model, gpus, batch or 1), self.spread if spread else None
        return search(tried, impossible, self, objective, constraints, again)

    def _candidate(self, layout: Layout, memory: Memory, figures: Mapping[str, float]) -> Candidate:
        known = {"memory_gb": memory.total_bytes / 1e9, **figures}
        if figures:
            hourly = getattr(bill(self.prices, self.device, layout.gpus, 1.0), f"{self.price}_usd")
            if hourly is not None:  # a price is known
                million = hourly / 3600 / figures["tokens_per_s"] * 1e6
                known |= {"usd_per_hour": hourly, "usd_per_million_tokens": million}
        return Candidate(layout, known, None if memory.fits else memory.verdict)


class TrainingLayouts(Layouts):
    """Layouts of one training step."""

    def __init__(self, planner: Planner, prices: Prices, price: str = "on_demand") -> None:
        super().__init__(planner.work, planner.device, prices, price)
        self.planner = planner

    def __call__(self, layouts: Sequence[Layout]) -> list[Candidate]:
        held = [self.planner.memory(layout) for layout in layouts]
        fit = [layout for layout, memory in zip(layouts, held, strict=True) if memory.fits]
        figures = {
            layout: {"step_ms": ms, "tokens_per_s": self.work.tokens / ms * 1e3}
            for layout, ms in zip(fit, self.planner.latencies(fit).tolist(), strict=True)
        }
        return [
            self._candidate(layout, memory, figures.get(layout, {}))
            for layout, memory in zip(layouts, held, strict=True)
        ]

    def spread(self, layouts: Sequence[Layout]) -> list[Layout]:
        """Pipelines of these with layers spread by the time they take, where the slowest stage gains by it."""
        return [
            replace(layout, stages=counts)
            for layout in layouts
            if layout.pp > 1 and (counts := self.planner.spread(layout))
        ]

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds of the step by part."""
        return self.planner.step(layout).parts


class ServingLayouts(Layouts):
    """Layouts of serving."""

    def __init__(self, server: Server, prices: Prices, objective: str, price: str = "on_demand") -> None:
        super().__init__(server.work, server.device, prices, price)
        self.server, self.objective = server, objective

    def __call__(self, layouts: Sequence[Layout]) -> list[Candidate]:
        found = []
        for layout in layouts:
            memory, figures = self.server.memory(layout), {}
            if memory.fits:
                served = self.server.serve(layout)
                figures = {"ttft_ms": served.ttft_ms[0], "tpot_ms": served.tpot_ms[0]}
                figures["tokens_per_s"] = served.tokens_per_s
            found.append(self._candidate(layout, memory, figures))
        return found

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds by part: of the prefill where its time is the objective, else of one decode step."""
        served = self.server.serve(layout)
        return served.prefill if self.objective == "ttft" else served.decode
