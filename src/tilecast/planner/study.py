"""Worked examples on many GPUs as tables: figures, parts, timeline, memory, scaling, cost, search, sensitivity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, model_validator

from tilecast.base.documents import read_yaml
from tilecast.base.inputs import Positive, Section, validated
from tilecast.base.limits import MOST
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import Bill, Prices, per_million_tokens, training_run
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, legal
from tilecast.multigpu.step import StepForecaster, sized
from tilecast.planner import search as searching
from tilecast.planner.candidates import ServingLayouts, TrainingLayouts
from tilecast.planner.sensitivity import SERVING_CHANGES, Case, ServingCase, tornado
from tilecast.predict.kernel import Predictor
from tilecast.serving.answer import ends
from tilecast.serving.deployment import Deployment
from tilecast.serving.engines import engine
from tilecast.serving.load import Lengths, Load
from tilecast.tables.declared.multigpu import STUDY

TOP = 10
COMPARED = 5  # best layouts whose parts are compared
CLOUD_PERCENT = 10  # points of the search nearer than this in both figures are one
# What the scaling study tries on each number of GPUs: a part of the whole space, to be quick.
SCALING = searching.Space(
    tp=(1, 2, 4, 8), microbatch=(1, 2, 3, 4, 6), interleave=(1, 2, 4, 6), schedule=("1f1b", "interleaved"),
    recompute=("none", "full"), zero=(1, 3), sequence_parallel=(True,),
)  # fmt: skip
TINY = 1e-6  # of a millisecond or a gigabyte: what is below is rounding
Rows = list[dict[str, Any]]
Gpus = Annotated[int, Field(ge=1, le=MOST["gpus"][0])]
Tokens = Annotated[int, Field(ge=1, le=MOST["sequence"][0])]


class Example(Section):
    """A model on a system, and the layout that is shown beside the best ones."""

    title: str
    model: str
    system: str
    gpus: Gpus
    layout: Layout

    @model_validator(mode="after")
    def _uses_all_gpus(self) -> Example:
        if self.layout.gpus != self.gpus:
            raise ValueError(f"its layout needs {self.layout.gpus} GPUs, not {self.gpus}")
        return self


class TrainingExample(Example):
    """One step, and a run over `tokens`."""

    batch: Annotated[int, Field(ge=1, le=MOST["batch"][0])]
    sequence: Tokens
    tokens: Positive


class ServingExample(Example):
    """Requests of `prompt` tokens answered with `output`, at most `tpot_ms` for each of these."""

    engine: str = "vllm"
    prompt: Tokens
    output: Annotated[int, Field(ge=1, le=MOST["output"][0])]
    tpot_ms: Positive


class Scaling(Section):
    """Numbers of GPUs, and the sequences of each where the batch grows with them."""

    gpus: list[Gpus]
    weak_batch_per_gpu: Positive


class Study(Section):
    """The whole file."""

    training: TrainingExample
    serving: ServingExample
    scaling: Scaling


def load_study(path: str | Path) -> Study:
    """Read and check a study file."""
    return validated(Study, read_yaml(path), path)


def tables(study: Study, predictor: Predictor, prices: Prices) -> dict[str, pd.DataFrame]:
    """The tables named in TABLES, as resources/studies/multigpu records them."""
    rows: dict[str, Rows] = {name: [] for name in STUDY}
    _train(study, predictor, prices, rows)
    _serve(study, prices, rows)
    return {name: pd.DataFrame(found, columns=list(STUDY[name].columns)) for name, found in rows.items()}


def case_of(part: TrainingExample, predictor: Predictor) -> Case:
    """The training step of a study, at its own layout."""
    system, spec = load_system(part.system), load_model(part.model)
    work = Workload(
        spec, part.batch, part.sequence, mode="training", optimizer="adam", dtype="bf16", attention="fused",
        fused=True,
    )  # fmt: skip
    return Case(work, system, load_device(system.device), predictor, part.layout)


def serving_of(part: ServingExample, prices: Prices) -> ServingLayouts:
    """The layouts that the serving example may have, its requests always in flight."""
    system, spec = load_system(part.system), load_model(part.model)
    serves, device = engine(part.engine), load_device(system.device)
    work = Workload(spec, 1, part.prompt, dtype="bf16", attention="fused", fused=True)
    server = Deployment(work.architecture, device, system, serves.batching, memory_share=serves.memory_share)
    load = Load(Lengths(part.prompt), Lengths(part.output))
    return ServingLayouts(work, server, load, prices, "tokens_per_dollar")


def _figure(
    rows: Rows, title: str, layout: str, name: str, value: float, low: Any = None, high: Any = None
) -> None:
    rows.append({"example": title, "layout": layout, "figure": name, "value": value, "low": low, "high": high})


def _train(study: Study, predictor: Predictor, prices: Prices, rows: dict[str, Rows]) -> None:
    part = study.training
    title, case = part.title, case_of(part, predictor)
    work, device, layout = case.work, case.device, case.layout
    forecaster = StepForecaster(work, case.system, device, predictor)
    judge, gpus = TrainingLayouts(forecaster, prices), part.gpus
    found = judge.search(searching.training_space(work), gpus, "step_time")
    best = found.ranked[0].layout
    for name, shown in (("as Megatron-LM", layout), ("best found", best)):
        step = forecaster.step(shown)
        _figure(rows["figures"], title, name, "step_ms", step.latency_ms, step.low_ms, step.high_ms)
        ends = (work.tokens / end * 1e3 for end in (step.high_ms, step.low_ms))
        _figure(rows["figures"], title, name, "tokens_per_s", step.tokens_per_s, *ends)
        _figure(rows["figures"], title, name, "memory_gb", step.memory.total_bytes / 1e9)
        hours, bill = training_run(prices, device, gpus, step.latency_ms, work.tokens, part.tokens)
        rows["cost"].append(_cost(title, f"{name}: {shown.label}", "training run", hours, bill))
    shown_layouts = [layout, *(candidate.layout for candidate in found.ranked[:COMPARED])]
    for place, shown in enumerate(shown_layouts):
        step = forecaster.step(shown)
        rows["parts"] += _parts(title, place, shown.label, "time_ms", step.parts)
        held = {name: size / 1e9 for name, size in step.memory.parts.items()}
        rows["parts"] += _parts(title, place, shown.label, "memory_gb", held)
    usual = forecaster.step(layout)
    stages = {f"stage {stage}": held / 1e9 for stage, held in enumerate(usual.memory.totals)}
    stages["one GPU"] = device.memory_bytes / 1e9
    rows["parts"] += _parts(title, 0, layout.label, "stage_memory_gb", stages)
    for event in usual.events:
        times = {name: round(getattr(event, name), 3) for name in ("start_ms", "end_ms")}
        rows["timeline"].append(event._asdict() | times)
    rows["search"] += _found(title, found, judge.parts, "step_ms", "memory_gb")
    rows["infeasible"] += _infeasible(title, found)
    _scale(study, forecaster, prices, rows["scaling"])
    rows["sensitivity"] += [{"example": title, **row} for row in tornado(case)]


def _parts(title: str, place: int, layout: str, what: str, parts: Mapping[str, float]) -> Rows:
    key = {"example": title, "place": place, "layout": layout, "what": what}
    return [key | {"part": name, "value": value} for name, value in parts.items() if value > TINY]


def _cost(title: str, what: str, unit: str, hours: float, bill: Bill) -> dict[str, Any]:
    return {"example": title, "what": what, "unit": unit, "hours": hours, **asdict(bill)}


def _infeasible(title: str, found: searching.Found) -> Rows:
    return [{"example": title, "layouts": count, "such_as": words} for count, words in searching.reasons(found)]


def _found(title: str, found: searching.Found, parts: searching.Parts, first: str, second: str) -> Rows:
    """The top, explained; the Pareto front; and the other candidates, near ones as one."""
    rows: Rows = []
    front = {id(point) for point in searching.pareto(found.ranked, first, second)}
    seen: set[tuple[int, ...]] = set()
    best = found.ranked[0].layout
    for place, candidate in enumerate(found.ranked):
        figures = candidate.figures
        logs = (math.log(figures[name]) / math.log1p(CLOUD_PERCENT / 100) for name in (first, second))
        cell = (candidate.layout.tp, *map(round, logs))
        named = place < TOP or id(candidate) in front
        if not named and cell in seen:
            continue
        seen.add(cell)
        rows.append(
            {
                "example": title,
                "place": place + 1,
                "feasible": len(found.ranked),
                "layout": candidate.layout.label,
                "tp": candidate.layout.tp,
                "front": id(candidate) in front,
                **{name: float(f"{value:.4g}") for name, value in figures.items()},
                "why": searching.explain(candidate.layout, best, parts) if 0 < place < TOP else "",
            }
        )
    ranks = sorted({candidate.layout.tp for candidate in (*found.ranked, *found.infeasible)})
    words = [searching.why_not(found, "tp", tp, parts) for tp in ranks if tp != best.tp]
    return rows + [{"example": title, "place": None, "layout": "", "front": False, "why": word} for word in words]


def _scale(study: Study, forecaster: StepForecaster, prices: Prices, rows: Rows) -> None:
    """The best of a small space on each number of GPUs, at one batch and at one batch a GPU."""
    work = forecaster.work
    for kind in ("same batch", "same batch a GPU"):
        for gpus in study.scaling.gpus:
            batch = work.batch_size if kind == "same batch" else round(study.scaling.weak_batch_per_gpu * gpus)
            judge = TrainingLayouts(sized(forecaster, batch), prices)
            found = judge.search(SCALING, gpus, "step_time", spread=False)
            row: dict[str, Any] = {"scaling": kind, "gpus": gpus, "batch": batch, "feasible": len(found.ranked)}
            if found.ranked:
                best = judge.forecaster.step(found.ranked[0].layout)
                row |= {"layout": best.layout.label, "step_ms": best.latency_ms, "low_ms": best.low_ms}
                row |= {"high_ms": best.high_ms, "tokens_per_s": best.tokens_per_s}
                row |= {"usd_per_million_tokens": found.ranked[0].figures.get("usd_per_million_tokens")}
            rows.append(row)


def _serve(study: Study, prices: Prices, rows: dict[str, Rows]) -> None:
    part = study.serving
    title, gpus, judge = part.title, part.gpus, serving_of(part, prices)
    model, device = judge.work.architecture, judge.device
    tried = searching.layouts(searching.SERVING, model, gpus, 1)
    possible = [layout for layout in tried if legal(layout, model, gpus, None, part.prompt) is None]
    rooms = {replace(layout, microbatch=1): 0 for layout in possible}
    for candidate in judge(sorted(possible, key=lambda found: (found.label, found.microbatch))):
        if candidate.reason is None:
            layout, base = candidate.layout, replace(candidate.layout, microbatch=1)
            rooms[base] = max(rooms[base], layout.microbatch * layout.pp * layout.dp)
            rows["serving"].append(
                {
                    "example": title,
                    "tp": layout.tp,
                    "layout": base.label.replace(" mb1", "").replace(" 1f1b", ""),
                    "sequences": layout.microbatch * layout.pp * layout.dp,
                    "usd_per_million_tokens": None,
                    "base": base,
                    **candidate.figures,
                }
            )
    for row in rows["serving"]:
        row["most"] = rooms[row.pop("base")]
    rows["serving"].sort(key=lambda row: (row["layout"], row["sequences"]))
    cheapest = float("inf")  # of those that are faster: the Pareto front
    for row in sorted(rows["serving"], key=lambda row: (row["tpot_ms"], row["usd_per_million_tokens"] or 0.0)):
        usd = row["usd_per_million_tokens"]
        row["front"] = usd is not None and usd < cheapest
        cheapest = usd if row["front"] else cheapest
    asked, served = judge.asked(part.layout), judge.served([part.layout])[0]
    for name, values in (("ttft", served.ttft_ms), ("tpot", served.tpot_ms)):
        mean = served.mean(values)
        _figure(rows["figures"], title, part.layout.label, f"{name}_ms", mean, *ends(asked[0], name, mean))
    rate = part.layout.dp * part.layout.pp * served.tokens_per_s
    _figure(rows["figures"], title, part.layout.label, "tokens_per_s", rate)
    _figure(rows["figures"], title, part.layout.label, "memory_gb", judge.held_bytes(part.layout) / 1e9)
    for place, (phase, one) in enumerate((("one prompt", served.prefill), ("one token", served.decode))):
        rows["parts"] += _parts(title, place, f"{part.layout.label}, {phase}", "time_ms", one.parts)
    found = judge.search(searching.SERVING, gpus, "tokens_per_dollar", {"tpot_ms": part.tpot_ms})
    rows["infeasible"] += _infeasible(title, found)
    if found.ranked:
        rows["search"] += _found(title, found, judge.parts, "tpot_ms", "usd_per_million_tokens")
        best = found.ranked[0]
        bill = per_million_tokens(prices, device, gpus, best.figures["tokens_per_s"])
        hours = 1e6 / best.figures["tokens_per_s"] / 3600
        what = f"TPOT within {part.tpot_ms:g} ms: {best.layout.label}"
        rows["cost"].append(_cost(title, what, "million output tokens", hours, bill))
    rows["sensitivity"] += [{"example": title, **row} for row in tornado(ServingCase(*asked), SERVING_CHANGES)]
