"""Layouts as candidates of a search: memory, time, throughput and cost of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from tilecast.hardware.device import Device
from tilecast.hardware.price import Prices, bill
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, illegal
from tilecast.multigpu.memory import verdict
from tilecast.multigpu.step import StepForecaster
from tilecast.planner.search import Candidate, Found, Space, broken, layouts, search
from tilecast.predict.half_precision import shipped
from tilecast.serving.deployment import Deployment, Desk, Pool, Served
from tilecast.serving.load import Load


class Judge:
    """Layouts of one workload on one kind of GPU: evaluated, searched, explained."""

    def __init__(self, work: Workload, device: Device, prices: Prices, price: str) -> None:
        self.work, self.device, self.prices, self.price = work, device, prices, price
        self.hourly = cache(self._hourly)

    def __call__(self, layouts: Sequence[Layout], bounds: Mapping[str, float] | None = None) -> list[Candidate]:
        """Memory of every layout; time, throughput and cost of those that fit and keep the bounds on memory."""
        on_memory = {name: limit for name, limit in (bounds or {}).items() if name == "memory_gb"}
        found, able = [], []
        for layout, (size, reason) in zip(layouts, self.held(layouts), strict=True):
            known = {"memory_gb": size / 1e9}
            found.append(Candidate(layout, known, reason or broken(known, on_memory)))
            able += [layout] if found[-1].reason is None else []
        figures = iter(self.figures(able))
        return [
            each if each.reason else Candidate(each.layout, self._priced(each, next(figures))) for each in found
        ]

    def held(self, layouts: Sequence[Layout]) -> list[tuple[float, str | None]]:
        """Bytes that each layout's fullest GPU holds; by how much they do not fit, None if they do."""
        raise NotImplementedError

    def figures(self, layouts: Sequence[Layout]) -> list[dict[str, float]]:
        """Times and tokens per second of each layout."""
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

        def impossible(layouts: Sequence[Layout]) -> list[str | None]:
            return illegal(layouts, model, gpus, batch, self.work.sequence_length)

        tried, again = layouts(space, model, gpus, batch or 1), self.spread if spread else None
        return search(tried, impossible, self, objective, constraints, again)

    def _hourly(self, gpus: int) -> float | None:
        return getattr(bill(self.prices, self.device, gpus, 1.0), f"{self.price}_usd")

    def _priced(self, candidate: Candidate, figures: Mapping[str, float]) -> dict[str, float]:
        known, hourly = {**candidate.figures, **figures}, self.hourly(candidate.layout.gpus)
        if hourly is not None:  # a price is known
            million = hourly / 3600 / figures["tokens_per_s"] * 1e6
            known |= {"usd_per_hour": hourly, "usd_per_million_tokens": million}
        return known


class TrainingLayouts(Judge):
    """Layouts of one training step."""

    def __init__(self, forecaster: StepForecaster, prices: Prices, price: str = "on_demand") -> None:
        super().__init__(forecaster.work, forecaster.device, prices, price)
        self.forecaster = forecaster

    def held(self, layouts: Sequence[Layout]) -> list[tuple[float, str | None]]:
        """Bytes that each layout's fullest stage holds; by how much they do not fit, None if they do."""
        room, held = self.device.memory_bytes, zip(*(part.tolist() for part in self.forecaster.held(layouts)))
        return [
            (size, verdict(size - room, stage, layout.pp) if size > room else None)
            for layout, (size, stage) in zip(layouts, held, strict=True)
        ]

    def figures(self, layouts: Sequence[Layout]) -> list[dict[str, float]]:
        """Step time and tokens per second of each layout."""
        tokens = self.work.tokens
        times = self.forecaster.latencies(layouts).tolist()
        return [{"step_ms": ms, "tokens_per_s": tokens / ms * 1e3} for ms in times]

    def spread(self, layouts: Sequence[Layout]) -> list[Layout]:
        """Pipelines of these with layers spread by the time they take, where the slowest stage gains by it."""
        able = [layout for layout in layouts if layout.pp > 1]
        found = zip(able, self.forecaster.spread(able), strict=True)
        return [replace(layout, stages=counts) for layout, counts in found if counts]

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds of the step by part."""
        return self.forecaster.step(layout).parts


class ServingLayouts(Judge):
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

    def held(self, layouts: Sequence[Layout]) -> list[tuple[float, str | None]]:
        """Bytes a GPU of each layout holds; by how much they do not fit, None if they do."""
        room = self.server.memory_share * self.device.memory_bytes
        sizes = map(self.held_bytes, layouts)
        return [
            (size, None if size <= room else f"does not fit by {(size - room) / 1e9:.1f} GB") for size in sizes
        ]

    def figures(self, layouts: Sequence[Layout]) -> list[dict[str, float]]:
        """Time to first token, time per token and tokens per second of each layout."""
        return [
            {
                "ttft_ms": served.mean(served.ttft_ms),
                "tpot_ms": served.mean(served.tpot_ms),
                "tokens_per_s": layout.dp * layout.pp * served.tokens_per_s,
            }
            for layout, served in zip(layouts, self.served(layouts), strict=True)
        ]

    def parts(self, layout: Layout) -> Mapping[str, float]:
        """Milliseconds by part: of a prompt where its time is the objective, else of one decode pass."""
        served = self.served([layout])[0]
        return served.prefill.parts if self.objective == "ttft" else served.decode.parts
