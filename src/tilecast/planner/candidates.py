"""Layouts as candidates of a search: memory, time, throughput and cost of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tilecast.hardware.device import Device
from tilecast.hardware.price import Prices, bill
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, legal
from tilecast.multigpu.step import Planner
from tilecast.planner.search import Candidate, Found, Space, layouts, search
from tilecast.predict.half_precision import shipped
from tilecast.serving.deployment import Deployment, Desk, Pool, Served
from tilecast.serving.load import Load


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

    def _candidate(
        self, layout: Layout, held_bytes: float, figures: Mapping[str, float], reason: str | None
    ) -> Candidate:
        known = {"memory_gb": held_bytes / 1e9, **figures}
        if figures:
            hourly = getattr(bill(self.prices, self.device, layout.gpus, 1.0), f"{self.price}_usd")
            if hourly is not None:  # a price is known
                million = hourly / 3600 / figures["tokens_per_s"] * 1e6
                known |= {"usd_per_hour": hourly, "usd_per_million_tokens": million}
        return Candidate(layout, known, reason)


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
            self._candidate(
                layout, memory.total_bytes, figures.get(layout, {}), None if memory.fits else memory.verdict
            )
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
    """Layouts of serving: as many clients as a layout's microbatches hold, each with a request in flight."""

    def __init__(
        self,
        work: Workload,
        server: Deployment,
        load: Load,
        prices: Prices,
        objective: str,
        price: str = "on_demand",
    ) -> None:
        super().__init__(work, server.device, prices, price)
        self.server, self.load, self.objective = server, load, objective

    def asked(self, layout: Layout) -> tuple[Deployment, Load]:
        """The servers of a layout, and its clients' requests."""
        pool = Pool(layout.tp, layout.pp, replicas=layout.dp)
        load = replace(self.load, concurrency=layout.dp * layout.pp * layout.microbatch)
        return replace(self.server, pool=pool), load

    def held_bytes(self, layout: Layout) -> float:
        """Bytes a GPU holds while all of a layout's requests are at their ends."""
        server, load = self.asked(layout)
        cache = float(server.cache_bytes(load.prompt.mean + load.output.mean, server.pool))
        taken = server.memory_share * server.device.memory_bytes - server.room_bytes(server.pool)
        return taken + layout.pp * layout.microbatch * cache

    def served(self, layouts: Sequence[Layout]) -> list[Served]:
        """What clients see of each layout."""
        desk = Desk(shipped(), self.server.device, self.server.system)
        for layout in layouts:
            desk.ask(*self.asked(layout))
        return desk.answers()

    def __call__(self, layouts: Sequence[Layout]) -> list[Candidate]:
        room = self.server.memory_share * self.device.memory_bytes
        held = [self.held_bytes(layout) for layout in layouts]
        fit = [layout for layout, size in zip(layouts, held, strict=True) if size <= room]
        figures = {
            layout: {
                "ttft_ms": served.mean(served.ttft_ms),
                "tpot_ms": served.mean(served.tpot_ms),
                "tokens_per_s": layout.dp * layout.pp * served.tokens_per_s,
            }
            for layout, served in zip(fit, self.served(fit), strict=True)
        }
        return [
            self._candidate(
                layout, size, figures.get(layout, {}),
                None if size <= room else f"does not fit by {(size - room) / 1e9:.1f} GB",
            )
            for layout, size in zip(layouts, held, strict=True)
        ]  # fmt: skip

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds by part: of a prompt where its time is the objective, else of one decode pass."""
        served = self.served([layout])[0]
        return served.prefill.parts if self.objective == "ttft" else served.decode.parts
