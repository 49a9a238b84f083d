"""The worked examples of many GPUs as tables: figures, parts, timeline, memory, scaling, cost, search, tornado."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.documents import read_yaml
from tilecast.base.documents import shown as quoted
from tilecast.base.errors import InputError
from tilecast.base.limits import check
from tilecast.hardware.device import load_device
from tilecast.hardware.price import Bill, Prices, per_million_tokens, training_run
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, layout_of, legal
from tilecast.multigpu.step import Planner
from tilecast.planner import search as searching
from tilecast.planner.sensitivity import Case, server, tornado
from tilecast.predict.kernel import Predictor
from tilecast.serving.server import SIZES, Server, sized

if TYPE_CHECKING:
    import pandas as pd

TABLES = (
    "figures", "parts", "timeline", "scaling", "serving", "cost", "search", "infeasible", "sensitivity",
)  # fmt: skip
_KEYS = {
    "training": {"title", "model", "system", "gpus", "batch", "sequence", "tokens", "layout"},
    "serving": {"title", "model", "system", "gpus", "prompt", "output", "tpot_ms", "layout"},
    "scaling": {"gpus", "weak_batch_per_gpu"},
}
_WORDS = {"title", "model", "system"}
_LIMITS = {"gpus": "gpus", "batch": "batch", "sequence": "sequence", "prompt": "sequence", "output": "output"}
_RATES = {"tokens", "tpot_ms"}
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


@dataclass(frozen=True)
class Study:
    """The checked study file."""

    training: Mapping[str, Any]
    serving: Mapping[str, Any]
    scaling: Mapping[str, Any]


def load_study(path: str | Path) -> Study:
    """Read and check a study file."""
    where = Path(path)
    raw = read_yaml(where)
    if not isinstance(raw, dict) or set(raw) != set(_KEYS):
        raise InputError(where, "is no study", f"it has {', '.join(_KEYS)}")
    for part, keys in _KEYS.items():
        if not isinstance(raw[part], dict) or set(raw[part]) != keys:
            raise InputError(where, f"`{part}` is not understood", f"it has {', '.join(sorted(keys))}")
    for part in ("training", "serving"):
        for key, value in raw[part].items():
            place = f"{where}, `{part}.{key}`"
            if key in _WORDS and not isinstance(value, str):
                raise InputError(place, f"{quoted(value)} is no text")
            if key in _LIMITS:
                check(_LIMITS[key], value, place, least=1)
            if key in _RATES and (type(value) not in (int, float) or not 0 < value < 1e18):
                raise InputError(place, f"{quoted(value)} is no number above zero")
        layout = layout_of(raw[part]["layout"], f"{where}, `{part}.layout`")
        if layout.gpus != raw[part]["gpus"]:
            raise InputError(where, f"`{part}.layout` needs {layout.gpus} GPUs", f"not {raw[part]['gpus']}")
    sizes, batch = raw["scaling"]["gpus"], raw["scaling"]["weak_batch_per_gpu"]
    for gpus in sizes if isinstance(sizes, list) else [sizes]:
        check("gpus", gpus, f"{where}, `scaling.gpus`", least=1)
    if not isinstance(sizes, list) or type(batch) not in (int, float) or not 0 < batch < 1e6:
        raise InputError(where, "`scaling` is not understood", "a list `gpus`, and sequences a GPU above zero")
    return Study(**raw)


def tables(study: Study, predictor: Predictor, prices: Prices) -> dict[str, pd.DataFrame]:
    """Every table of TABLES."""
    import pandas as pd

    rows: dict[str, Rows] = {name: [] for name in TABLES}
    _train(study, predictor, prices, rows)
    _serve(study, predictor, prices, rows)
    return {name: pd.DataFrame(found) for name, found in rows.items()}


def case_of(part: Mapping[str, Any], predictor: Predictor, training: bool) -> Case:
    """The forecast that a part of the study asks for, at its own layout."""
    system = load_system(part["system"])
    work = Workload(
        spec=load_model(part["model"]),
        batch_size=part["batch"] if training else 1,
        sequence_length=part["sequence"] if training else part["prompt"],
        mode="training" if training else "inference",
        dtype="bf16",
        attention="fused",
        optimizer="adam" if training else None,
        fused=True,
    )
    output = 0 if training else part["output"]
    return Case(work, system, load_device(system.device), predictor, Layout(**part["layout"]), output=output)


def _figure(
    rows: Rows, title: str, layout: str, name: str, value: float, low: Any = None, high: Any = None
) -> None:
    rows.append({"example": title, "layout": layout, "figure": name, "value": value, "low": low, "high": high})


def _train(study: Study, predictor: Predictor, prices: Prices, rows: dict[str, Rows]) -> None:
    part = study.training
    title, case = part["title"], case_of(part, predictor, training=True)
    work, device, layout = case.work, case.device, case.layout
    planner = Planner(work, case.system, device, predictor)
    judge = searching.Training(planner, prices)
    model, gpus = work.architecture, part["gpus"]
    found = searching.search(
        searching.layouts(searching.training_space(work), model, gpus, work.batch_size),
        lambda tried: legal(tried, model, gpus, work.batch_size, work.sequence_length),
        judge,
        "step_time",
        again=judge.spread,
    )
    best = found.ranked[0].layout
    for name, shown in (("as Megatron-LM", layout), ("best found", best)):
        step = planner.step(shown)
        _figure(rows["figures"], title, name, "step_ms", step.latency_ms, step.low_ms, step.high_ms)
        ends = (work.tokens / end * 1e3 for end in (step.high_ms, step.low_ms))
        _figure(rows["figures"], title, name, "tokens_per_s", step.tokens_per_s, *ends)
        _figure(rows["figures"], title, name, "memory_gb", step.memory.total_bytes / 1e9)
        hours, bill = training_run(prices, device, gpus, step.latency_ms, work.tokens, part["tokens"])
        rows["cost"].append(_cost(title, f"{name}: {shown.label}", "training run", hours, bill))
    shown_layouts = [layout, *(candidate.layout for candidate in found.ranked[:COMPARED])]
    for place, shown in enumerate(shown_layouts):
        step = planner.step(shown)
        rows["parts"] += _parts(title, place, shown.label, "time_ms", step.parts)
        held = {name: size / 1e9 for name, size in step.memory.parts.items()}
        rows["parts"] += _parts(title, place, shown.label, "memory_gb", held)
    usual = planner.step(layout)
    stages = {f"stage {stage}": held / 1e9 for stage, held in enumerate(usual.memory.totals)}
    stages["one GPU"] = device.memory_bytes / 1e9
    rows["parts"] += _parts(title, 0, layout.label, "stage_memory_gb", stages)
    for event in usual.events:
        times = {name: round(getattr(event, name), 3) for name in ("start_ms", "end_ms")}
        rows["timeline"].append(event._asdict() | times)
    rows["search"] += _found(title, found, judge.parts, "step_ms", "memory_gb")
    rows["infeasible"] += [
        {"example": title, "layouts": count, "such_as": words} for count, words in searching.reasons(found)
    ]
    _scale(study, planner, prices, rows["scaling"])
    rows["sensitivity"] += [{"example": title, **row} for row in tornado(case)]


def _parts(title: str, place: int, layout: str, what: str, parts: Mapping[str, float]) -> Rows:
    key = {"example": title, "place": place, "layout": layout, "what": what}
    return [key | {"part": name, "value": value} for name, value in parts.items() if value > TINY]


def _cost(title: str, what: str, unit: str, hours: float, bill: Bill) -> dict[str, Any]:
    return {"example": title, "what": what, "unit": unit, "hours": hours, **asdict(bill)}


def _found(title: str, found: searching.Found, parts: searching.Parts, first: str, second: str) -> Rows:
    """The top, explained; the Pareto front; and the other candidates, near ones as one."""
    rows: Rows = []
    front = {id(point) for point in searching.pareto(found.ranked, first, second)}
    seen: set[tuple[int, ...]] = set()
    for place, candidate in enumerate(found.ranked):
        figures = candidate.figures
        cell = (candidate.layout.tp, *(_step(figures[name]) for name in (first, second)))
        top = place < TOP
        if not top and id(candidate) not in front and cell in seen:
            continue
        seen.add(cell)
        why = searching.explain(candidate.layout, found.ranked[0].layout, parts) if 0 < place < TOP else ""
        rows.append(
            {
                "example": title,
                "place": place + 1,
                "feasible": len(found.ranked),
                "layout": candidate.layout.label if top or id(candidate) in front else "",
                "tp": candidate.layout.tp,
                "front": id(candidate) in front,
                **{name: float(f"{value:.4g}") for name, value in figures.items()},
                "why": why,
            }
        )
    ranks = sorted({candidate.layout.tp for candidate in (*found.ranked, *found.infeasible)})
    words = [searching.why_not(found, "tp", tp, parts) for tp in ranks if tp != found.ranked[0].layout.tp]
    return rows + [{"example": title, "place": None, "layout": "", "front": False, "why": word} for word in words]


def _mark_front(rows: Rows, first: str, second: str) -> None:
    """Say of each row whether it lies on the Pareto front."""
    best = float("inf")
    for row in sorted(rows, key=lambda row: (row[first], row[second] or 0.0)):
        row["front"] = row[second] is not None and row[second] < best
        best = row[second] if row["front"] else best


def _step(value: float) -> int:
    import math

    return round(math.log(value) / math.log1p(CLOUD_PERCENT / 100))


def _scale(study: Study, planner: Planner, prices: Prices, rows: Rows) -> None:
    """The best of a small space on each number of GPUs, at one batch and at one batch a GPU."""
    work, model = planner.work, planner.model
    for kind in ("same batch", "same batch a GPU"):
        for gpus in study.scaling["gpus"]:
            batch = work.batch_size if kind == "same batch" else round(study.scaling["weak_batch_per_gpu"] * gpus)
            judge = searching.Training(sized(planner, batch), prices)
            found = searching.search(
                searching.layouts(SCALING, model, gpus, batch),
                lambda tried, g=gpus, b=batch: legal(tried, model, g, b, work.sequence_length),  # type: ignore[misc]
                judge,
                "step_time",
            )
            row: dict[str, Any] = {"scaling": kind, "gpus": gpus, "batch": batch, "feasible": len(found.ranked)}
            if found.ranked:
                best = judge.planner.step(found.ranked[0].layout)
                row |= {"layout": best.layout.label, "step_ms": best.latency_ms, "low_ms": best.low_ms}
                row |= {"high_ms": best.high_ms, "tokens_per_s": best.tokens_per_s}
                row |= {"usd_per_million_tokens": found.ranked[0].figures.get("usd_per_million_tokens")}
            rows.append(row)


def _serve(study: Study, predictor: Predictor, prices: Prices, rows: dict[str, Rows]) -> None:
    part = study.serving
    title, case = part["title"], case_of(part, predictor, training=False)
    model, gpus = case.work.architecture, part["gpus"]
    desk: Server = server(case)
    judge = searching.Answering(desk, prices, "tokens_per_dollar")
    tried = list(searching.layouts(searching.SERVING, model, gpus, 1))
    possible = [layout for layout in tried if legal(layout, model, gpus, None, case.work.sequence_length) is None]
    for base in sorted({replace(layout, microbatch=1) for layout in possible}, key=lambda found: found.label):
        room = desk.most(base)
        for size in SIZES:
            if size * base.pp > room:
                break
            served = desk.serve(replace(base, microbatch=size))
            bill = per_million_tokens(prices, case.device, gpus, served.tokens_per_s)
            rows["serving"].append(
                {
                    "example": title,
                    "tp": base.tp,
                    "layout": base.label.replace(" mb1", "").replace(" 1f1b", ""),
                    "sequences": served.sequences * base.dp,
                    "most": room * base.dp,
                    "ttft_ms": served.ttft_ms[0],
                    "tpot_ms": served.tpot_ms[0],
                    "tokens_per_s": served.tokens_per_s,
                    "memory_gb": served.memory.total_bytes / 1e9,
                    "usd_per_million_tokens": bill.on_demand_usd,
                }
            )
    _mark_front(rows["serving"], "tpot_ms", "usd_per_million_tokens")
    served = desk.serve(case.layout)
    for name, ends in (("ttft_ms", served.ttft_ms), ("tpot_ms", served.tpot_ms)):
        _figure(rows["figures"], title, case.layout.label, name, *ends)
    _figure(rows["figures"], title, case.layout.label, "tokens_per_s", served.tokens_per_s)
    _figure(rows["figures"], title, case.layout.label, "memory_gb", served.memory.total_bytes / 1e9)
    for place, (phase, parts) in enumerate((("prefill", served.prefill), ("one token", served.decode))):
        rows["parts"] += _parts(title, place, f"{case.layout.label}, {phase}", "time_ms", parts)
    bound = {"tpot_ms": float(part["tpot_ms"])}
    found = searching.search(
        tried,
        lambda layout: legal(layout, model, gpus, None, case.work.sequence_length),
        judge,
        "tokens_per_dollar",
        bound,
    )
    rows["infeasible"] += [
        {"example": title, "layouts": count, "such_as": words} for count, words in searching.reasons(found)
    ]
    if found.ranked:
        rows["search"] += _found(title, found, judge.parts, "tpot_ms", "usd_per_million_tokens")
        best = found.ranked[0]
        bill = per_million_tokens(prices, case.device, gpus, best.figures["tokens_per_s"])
        hours = 1e6 / best.figures["tokens_per_s"] / 3600
        what = f"TPOT within {part['tpot_ms']} ms: {best.layout.label}"
        rows["cost"].append(_cost(title, what, "million output tokens", hours, bill))
    rows["sensitivity"] += [{"example": title, **row} for row in tornado(case)]
