"""A model's kernels, summed up or as a table."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from tilecast.api import work as asked
from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.text import text_table
from tilecast.base.errors import InputError
from tilecast.models.registry import ModelSpec, load_model, model_names
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import write


class Graph(Answer):
    """A model as a list of kernels, summed up."""

    schema = "tilecast.graph/1"

    def rows(self) -> list[dict[str, Any]]:
        """A row a class of kernels."""
        return [{"class": name, **sums} for name, sums in self.values["families"].items()]

    def text(self) -> str:
        """For a reader."""
        return _text(self.values)


@question
def graph(
    model: Annotated[str | None, Option("a config.json, a hub id, or a name of `tilecast list models`")] = None,
    module: Annotated[
        Any, Option("code of yours that returns an nn.Module", metavar="PACKAGE.MODULE:CALLABLE")
    ] = None,
    input: Annotated[
        list[str] | None,
        Option(
            "example input of a --module, such as 8x3x224x224 or 8x128:int64; repeat for each argument",
            metavar="SHAPE[:DTYPE]",
            several="append",
        ),
    ] = None,
    *,
    mode: asked.Mode = "inference",
    phase: asked.Phase = "prefill",
    context: asked.Context = 0,
    sequence: asked.Sequence = None,
    batch: asked.Batch = 1,
    dtype: asked.Dtype = "fp32",
    attention: asked.Attention = "eager",
    optimizer: asked.Optimizer = None,
    routing: Annotated[str, Option("balanced, zipf:1.2, capacity:1.25, comma-separated")] = "balanced",
    fuse: Annotated[bool, Option("fuse elementwise chains as a compiler would")] = False,
    output: Annotated[str | None, Option("write the kernel list: .parquet or .csv", metavar="FILE")] = None,
) -> Graph:
    """A model as a list of kernels: parameters, FLOPs, bytes, kernels by class."""
    given = dict(locals())
    if (model is None) == (module is None):
        raise InputError("--model", "and --module are two ways to name a model", "give one of them")
    if output:
        asked.check_table(output)
    if model and input:
        raise InputError("--input", "belongs to --module", "a configuration makes its own inputs")
    step = {name: given[name] for name in ("mode", "phase", "context", "dtype", "attention", "optimizer")}
    step |= {"sequence_length": sequence, "batch_size": batch, "routing": routing}
    if model is not None:
        made: Any = load_model(model)
        _note_unknown(made)
    else:
        made, step["inputs"] = _module(module), tuple(_example(text) for text in input or []) or None
    from tilecast.graph.fuse import fuse as fused

    found = asked.traced(made, "graph", **step)
    found = fused(found) if fuse else found
    if output:
        write(found.kernels(), output, KERNEL_LIST)
    return Graph(found.summary())


def _note_unknown(spec: ModelSpec) -> None:
    """Say which keys of a user's own configuration its class does not list."""
    if spec.name in model_names():
        return
    with asked.torch_needed("graph"):
        from tilecast.graph.build import unknown_keys
    if unknown := unknown_keys(spec):
        problem = f"keys its class does not list, misspelt perhaps: {', '.join(unknown)}"
        print(f"tilecast: note: {spec.source}: {problem}", file=sys.stderr)


def _module(name: Any) -> Any:
    """The module that `package.module:callable` returns, on the meta device so that it costs no memory."""
    import torch

    if isinstance(name, torch.nn.Module):
        return name
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

    match = re.fullmatch(r"(\d{1,9}(?:x\d{1,9}){0,9})(?::(\w+))?", text)
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
