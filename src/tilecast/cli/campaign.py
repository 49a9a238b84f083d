"""`tilecast measure campaign`: which stages there are, in which order, and what each may take of the budget."""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

from tilecast.api.text import text_table
from tilecast.base.errors import InputError
from tilecast.locality.copies import copies, pipelines
from tilecast.locality.topology import read_topology
from tilecast.measure import stages
from tilecast.measure.backend import Timing
from tilecast.measure.campaign import Campaign, Stage, begin_anew, preload, taken_over
from tilecast.measure.cpu import proc
from tilecast.measure.describe import DESCRIPTION, describe, write_description
from tilecast.measure.grid import grid
from tilecast.measure.models import measure_models, read_study
from tilecast.measure.session import distinct, measure_kernels
from tilecast.measure.stages import Bench
from tilecast.measure.store import PLANS, digest
from tilecast.moe.overlap import RATIOS
from tilecast.moe.overlap import measure as measure_overlap
from tilecast.tables.declared.measured import PLANNED_KERNELS
from tilecast.tables.io import read

MODEL_S = 1.0  # timed for about so long, each model
FIRST, NEXT = 16, 64  # kernels of each family and format that stage `kernels` takes at most


def all_stages(kernel_plan: Any, study: Path) -> list[Stage]:
    """The stages in their order; `kernel_plan`: the distinct kernels, the least certain forecast first."""
    kinds = kernel_plan.groupby(["family", "dtype"], sort=False).cumcount()

    def kernels(campaign: Campaign, bench: Bench, seconds: float, most: int | None = NEXT) -> None:
        rounds = [part for part in (FIRST, NEXT) if most and part <= most] or [len(kernel_plan)]
        ends = campaign.clock() + seconds
        also = stages.in_graph(Bench(campaign.backend, campaign.runs["readings"], "kernels"))
        for part in rounds:
            if (left := ends - campaign.clock()) > 0:
                todo = kernel_plan[kinds < part]
                measure_kernels(campaign.backend, todo, campaign.runs["kernels"], left, campaign.clock, also=also)

    def models(campaign: Campaign, bench: Bench, seconds: float, key: str = "workloads", also: Any = None) -> None:
        runs, works = campaign.runs, read_study(study, key)
        measure_models(campaign.backend, works, runs["models"], runs["timelines"], seconds, MODEL_S, also)

    return [
        Stage("peaks", 0.09, 60, lambda campaign, *rest: stages.peaks(*rest)),
        Stage("kernels", 0.18, 400, kernels),
        Stage("cells", 0.18, 300, lambda c, b, s: models(c, b, s, "cells", stages.by_harness(b))),
        Stage("models", 0.25, 600, models),
        Stage("launches", 0.03, 20, lambda campaign, *rest: stages.launches(*rest)),
        Stage("copies", 0.06, 60, lambda campaign, *rest: copies(*rest)),
        Stage("pipelines", 0.05, 60, lambda campaign, *rest: pipelines(*rest)),
        Stage("overlap", 0.03, 30, lambda campaign, *rest: overlap(*rest)),
        Stage("attention", 0.02, 20, lambda campaign, *rest: stages.attention(*rest)),
        Stage("narrow", 0.02, 20, lambda campaign, *rest: stages.narrow(*rest)),
        Stage("rest", 1.0, float("inf"), lambda c, b, s: kernels(c, b, s, None)),
    ]


def overlap(bench: Bench, seconds: float) -> None:
    """A copy behind a matrix product, as fetching an expert ahead is: each alone, and both at once."""
    names = [f"a copy {ratio:g} times as long as the product" for ratio in RATIOS]
    if bench.run.key({"stage": bench.stage, "item": names[-1], "variant": "both", "place": 0}) in bench.run.known:
        return
    for name, row in zip(names, measure_overlap(bench.backend.kind).to_dict("records"), strict=True):
        for variant in ("copy", "compute", "both"):
            taken = row[f"{variant}_ms"]
            found = Timing(taken, taken, taken, row["repeats"])
            about = {"amount": float(row["copied_bytes"]), "unit": "byte"}
            bench.read(name, lambda: lambda: None, about, variant, lambda *_, found=found: found)


def planned(budget_s: float, chosen: list[Stage]) -> str:
    """The plan as a table: seconds of each stage; the last has what is left."""
    spent = sum(stage.seconds(budget_s) for stage in chosen[:-1])
    seconds = [*(stage.seconds(budget_s) for stage in chosen[:-1]), budget_s - spent]
    rows = [[stage.name, f"{part:.0f}"] for stage, part in zip(chosen, seconds, strict=True)]
    return "\n".join(text_table({"stage": "<12", "seconds": ">8"}, rows))


def run(args: argparse.Namespace, backend: Any, command: str) -> int:
    """Run the campaign on `backend`; 0 however its stages ended, for what was measured is kept."""
    folder, kept = args.output / backend.name, args.kept / backend.name
    plans = [place / PLANS["kernels"] for place in (kept, folder)]
    plan = next((path for path in plans if path.exists()), None)
    if plan:
        kernel_plan = distinct(read(plan, PLANNED_KERNELS))
    else:
        kernel_plan = grid(backend.dtypes, limit_flops=1e13, limit_bytes=backend.memory_bytes / 8)
        kernel_plan = kernel_plan.assign(rank=range(len(kernel_plan)), predicted_ms=0.0)
    chosen = all_stages(kernel_plan, args.study)
    if args.stages:
        wanted = args.stages.split(",")
        wrong = sorted(set(wanted) - {stage.name for stage in chosen})
        if wrong:
            known = ", ".join(stage.name for stage in chosen)
            raise InputError("--stages", f"{wrong[0]!r} is not a stage", f"expected some of {known}")
        chosen = [stage for stage in chosen if stage.name in wanted]
    if not args.plan:
        preload()  # slow: after the arguments are checked, and before its time begins
    name, began, budget_s, starts = taken_over(args.budget)
    about: dict[str, Any] = {"campaign": name, "command": command, "budget_s": budget_s, "host": host()}
    if plan:
        about["forecasts_sha256"] = {
            file: digest(plan.parent / file) for file in PLANS.values() if (plan.parent / file).exists()
        }
    print(planned(budget_s, chosen), flush=True)
    if args.plan:
        return 0
    if not any((place / DESCRIPTION).exists() for place in (kept, folder)):
        write_description(describe(backend), folder / DESCRIPTION)
    print(f"{backend.title}: campaign {name}, process {starts}, {len(kernel_plan)} kernels planned", flush=True)
    campaign = Campaign(backend, folder, about, (kept,) if kept.resolve() != folder.resolve() else ())
    if campaign.run(chosen, began, budget_s, starts) == "device lost":
        begin_anew(name, began, budget_s, starts)
        print("the device is lost: what was measured is kept", flush=True)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:10,d} bytes  {path}")
    print(f"{time.monotonic() - began:.0f} s of {budget_s:.0f}")
    return 0


def host() -> dict[str, Any]:
    """The host: processor, nodes, the way to each GPU."""
    found = {"processor": " ".join(proc("cpuinfo", "model name")), "cores": os.cpu_count()}
    return found | {"kernel": platform.release(), "topology": read_topology()}
