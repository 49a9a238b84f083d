"""What a model is to do, as options of a command, and the kernels it launches for that."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.base.progress import doing
from tilecast.models.choices import ATTENTION, OPTIMIZER_STATES, PHASES
from tilecast.models.registry import ModelSpec
from tilecast.tables.columns import DTYPE_NAMES, MODES

if TYPE_CHECKING:
    from tilecast.graph.kernels import KernelGraph
    from tilecast.models.workload import Workload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare mode, phase, sizes, number format, attention and optimizer."""
    parser.add_argument("--mode", choices=MODES, default="inference")
    parser.add_argument("--phase", choices=PHASES, default="prefill", help="part of inference")
    words = "tokens already cached, for --phase decode"
    parser.add_argument("--context", type=option("context"), default=0, help=words)
    words = "tokens per sequence (default: 1024, or all positions)"
    parser.add_argument("--sequence", type=option("sequence"), help=words)
    parser.add_argument("--batch", type=option("batch"), default=1, help="sequences per step (default: 1)")
    parser.add_argument("--dtype", default="fp32", help="number format: " + ", ".join(DTYPE_NAMES))
    parser.add_argument("--attention", choices=ATTENTION, default="eager")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZER_STATES), help="add its step to training")


def check(args: argparse.Namespace) -> None:
    """Refuse in one line what costs nothing to see: a number format nobody knows."""
    if args.dtype not in DTYPE_NAMES:
        raise InputError("--dtype", f"unknown dtype {args.dtype!r}", f"expected one of {', '.join(DTYPE_NAMES)}")


def check_table(path: str) -> None:
    """Refuse a name that no table can be written to."""
    if Path(path).suffix not in (".parquet", ".csv"):
        raise InputError(path, "is neither .parquet nor .csv", "name one of them")


@contextmanager
def torch_needed(command: str) -> Iterator[None]:
    """Imports within end in one line where torch is not installed."""
    try:
        yield
    except ImportError as error:
        problem, remedy = f"needs torch ({error})", 'pip install "tilecast[torch]"'
        raise InputError(f"tilecast {command}", problem, remedy) from None


def workload(args: argparse.Namespace, spec: ModelSpec, **more: Any) -> Workload:
    """The workload that the options describe."""
    from tilecast.models.workload import usual_length  # pydantic, which a borrowed host may lack
    from tilecast.models.workload import workload as checked

    names = ("mode", "phase", "batch", "context", "dtype", "attention", "optimizer")
    given = {name: getattr(args, name) for name in names} | {"sequence": args.sequence or usual_length(spec)}
    return checked(given | {"model": spec} | more, f"tilecast {args.command}")


def check_step(args: argparse.Namespace, spec: ModelSpec) -> None:
    """Refuse a step that no model, or not this one, can do."""
    from tilecast.models.workload import check_positions

    asked = workload(args, spec)
    check_positions(spec, 1 if asked.phase == "decode" else asked.sequence_length, asked.context)


def traced(args: argparse.Namespace, model: Any, **more: Any) -> KernelGraph:
    """The graph of `model` doing what the options say."""
    alike = {name: getattr(args, name) for name in ("mode", "phase", "context", "dtype", "attention", "optimizer")}
    step = {"sequence_length": args.sequence, "batch_size": args.batch, **alike, **more}
    if isinstance(model, ModelSpec):
        from tilecast.graph.source import kernel_graph

        return kernel_graph(model, **step)
    with torch_needed(args.command), doing("tracing the module"):
        from tilecast.graph.tracer import trace

        return trace(model, **step)
