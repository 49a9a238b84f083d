"""`tilecast moe`: a mixture of experts on several GPUs with and without a predictor that fetches experts ahead."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from tilecast.api.work import torch_needed
from tilecast.base.documents import parse_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.paths import PRICES, STUDIES
from tilecast.moe.names import MODES, STRATEGIES

if TYPE_CHECKING:
    from tilecast.moe.study import Study, StudySystem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--study", metavar="FILE", help="inputs and systems (default: the shipped study)")
    words = "a system of the study, or one of `tilecast list systems`; again for another (default: the study's)"
    parser.add_argument("--system", action="append", metavar="NAME", help=words)
    words = "how its GPUs are used; again for another (default: all three)"
    parser.add_argument("--strategy", action="append", choices=tuple(STRATEGIES), help=words)
    words = "a config.json or a shipped model with experts (default: the study's own, in three readings)"
    parser.add_argument("--model", metavar="NAME", help=words)
    words = "an input of the model, such as recall=0.9 or policy=lfu (docs/use/experts.md); again for another"
    parser.add_argument("--set", action="append", default=[], metavar="INPUT=VALUE", dest="inputs", help=words)
    parser.add_argument("--debug", metavar="FILE", help="write a log with every intermediate figure")
    parser.add_argument("--json", action="store_true", help="print every row as JSON")


def run(args: argparse.Namespace) -> int:
    """Check the options, forecast each system and strategy, print what the study's guide calls its key metrics."""
    with torch_needed("moe"):
        from tilecast.moe.study import check, load_study

        path = args.study or STUDIES / "moe_prefetch.yaml"
        study = load_study(path)
        if args.inputs:
            given = study.physical.changed("--set", **dict(map(_input, args.inputs)))
            study = check(study.model_copy(update={"physical": given}), "--set")
        systems = [_system(study, name) for name in args.system or [system.name for system in study.systems]]
        return _print(args, study, systems, args.strategy or list(STRATEGIES))


def _print(args: argparse.Namespace, study: Study, systems: list[StudySystem], strategies: list[str]) -> int:
    import pandas as pd

    from tilecast.moe.tables import details, row
    from tilecast.moe.text import console, log
    from tilecast.tables.declared.moe import SYSTEMS

    own = {system.name for system in study.systems}
    modes = ["physical"] if args.model or any(system.name not in own for system in systems) else list(MODES)
    chosen = [(mode, system, name) for mode in modes for system in systems for name in strategies]
    table = pd.DataFrame([row(study, *each, args.model) for each in chosen], columns=list(SYSTEMS.columns))
    if args.debug:
        lines = [
            f"DEBUG {system.name} {STRATEGIES[name]}: {line}"
            for system in systems
            for name in strategies
            for line in details(study, system, name, args.model)
        ]
        write_text(args.debug, "\n".join(lines) + "\n" + log(table, study.title, []))
    if args.json:
        print(json.dumps(json.loads(table.to_json(orient="records")), indent=2))
        return 0
    print(console(table, study.title))
    return 0


def _input(text: str) -> tuple[str, Any]:
    """An input and its value, read as in a study file."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError("--set", f"{text!r} is not INPUT=VALUE", "such as recall=0.9")
    try:
        return name, parse_json(value, "--set")
    except InputError:
        return name, value  # a word


def _system(study: Study, name: str) -> StudySystem:
    """A system of the study; or all GPUs of a node of a described one, experts of its hybrid over pairs."""
    from tilecast.hardware.device_file import load_device
    from tilecast.hardware.price import bill, load_prices
    from tilecast.hardware.system import load_system
    from tilecast.moe.study import Hybrid, StudySystem

    if name in (known := {system.name: system for system in study.systems}):
        return known[name]
    found = load_system(name)
    gpus = min(found.gpus_per_node, found.gpus)
    usd = bill(load_prices(PRICES), load_device(found.device), gpus, 1.0).on_demand_usd if found.device else None
    if not found.device or usd is None:
        problem = "names no device whose price is known"
        raise InputError(name, problem, f"take one of the study's: {', '.join(known)}; or give a --study")
    pairs = 2 if gpus % 2 == 0 else 1
    return StudySystem(
        name=found.name,
        system=name,
        device=found.device,
        gpus=gpus,
        hybrid=Hybrid(replicas=gpus // pairs, expert_parallel=pairs),
        published_bandwidth_bytes_per_s=1.0,  # of readings that only the study's systems have
        usd_per_gpu_hour=usd / gpus,
    )
