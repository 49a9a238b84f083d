"""`tilecast graph`: a model's kernels, summed up or as a table."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError
from tilecast.cli import work
from tilecast.cli.text_table import text_table
from tilecast.models.registry import load_model, model_names
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", help="a config.json, or one of: " + ", ".join(model_names()))
    words = "code of yours that returns an nn.Module"
    model.add_argument("--module", metavar="PACKAGE.MODULE:CALLABLE", help=words)
    words = "example input of a --module, such as 8x3x224x224 or 8x128:int64; repeat for each argument"
    parser.add_argument("--input", action="append", default=[], metavar="SHAPE[:DTYPE]", help=words)
    work.add_arguments(parser)
    parser.add_argument("--routing", default="balanced", help="balanced, zipf:1.2, capacity:1.25, comma-separated")
    parser.add_argument("--fuse", action="store_true", help="fuse elementwise chains as a compiler would")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--output", metavar="FILE", help="write the kernel list: .parquet or .csv")


def run(args: argparse.Namespace) -> int:
    """Trace, fuse if asked, write the table, print the summary."""
    work.check(args)
    if args.output:
        work.check_table(args.output)
    spec = load_model(args.model) if args.model else None
    if spec and args.input:
        raise InputError("--input", "belongs to --module", "a configuration makes its own inputs")
    if spec and args.model not in model_names():
        with work.torch_needed("graph"):
            from tilecast.graph.build import unknown_keys
        if unknown := unknown_keys(spec):
            problem = f"keys its class does not list, misspelt perhaps: {', '.join(unknown)}"
            print(f"tilecast: note: {spec.source}: {problem}", file=sys.stderr)
    from tilecast.graph.fuse import fuse

    made = {} if spec else {"inputs": tuple(_example(text) for text in args.input) or None}
    graph = work.traced(args, spec or _module(args.module), routing=args.routing, **made)
    graph = fuse(graph) if args.fuse else graph
    if args.output:
        write(graph.kernels(), args.output, KERNEL_LIST)
    summary = graph.summary()
    print(json.dumps(summary, indent=2) if args.json else _text(summary))
    return 0


def _module(name: str) -> Any:
    """The module that `package.module:callable` returns, on the meta device so that it costs no memory."""
    import torch

    where = f"--module {name}"
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(where, f"cannot be imported ({error})", "give package.module:callable") from None
    finally:
        sys.path.pop(0)
    try:
        with torch.device("meta"):
            made = factory() if callable(factory) and not isinstance(factory, torch.nn.Module) else factory
    except Exception as error:  # code of the user's
        problem = f"cannot be built ({type(error).__name__}: {error})"
        raise InputError(where, problem, "it must take no arguments") from None
    if not isinstance(made, torch.nn.Module):
        raise InputError(where, f"is a {type(made).__name__}", "it must return an nn.Module")
    return made


def _example(text: str) -> Any:
    """A tensor without memory from `8x128` or `8x128:int64`."""
    import torch

    match = re.fullmatch(r"(\d+(?:x\d+)*)(?::(\w+))?", text)
    dtype = getattr(torch, match[2] or "float32", None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise InputError("--input", f"{text!r} is no shape", "expected such as 8x128 or 8x128:int64")
    return torch.empty([int(size) for size in match[1].split("x")], dtype=dtype, device="meta")


def _text(summary: dict[str, Any]) -> str:
    def cells(name: str, sums: dict[str, int]) -> list[str]:
        moved = sums["bytes_read"] + sums["bytes_written"]
        return [name, f"{sums['kernels']:,}", f"{sums['flops']:,}", f"{moved:,}"]

    families, phases = ([cells(*item) for item in summary[part].items()] for part in ("families", "phases"))
    lines = [
        f"{summary['model']}, {summary['mode']}, batch {summary['batch_size']}, "
        f"sequence {summary['sequence_length']}, {summary['dtype']}, attention {summary['attention']}",
        f"parameters      {summary['parameters']:>22,}",
        f"kernels         {summary['kernels']:>22,}  ({summary['kernels_stored']:,} stored)",
        f"FLOPs           {summary['flops']:>22,}  (matrix products {summary['matrix_flops']:,})",
        f"bytes read      {summary['bytes_read']:>22,}",
        f"bytes written   {summary['bytes_written']:>22,}",
        f"FLOPs per byte  {summary['flops_per_byte']:>22,}",
        "",
        *text_table(
            {"class": "<14", "kernels": ">9", "FLOPs": ">22", "bytes": ">22"}, [*families, [""] * 4, *phases]
        ),
    ]
    return "\n".join(lines).rstrip()
