"""What a model is to do, as options that several questions share, and the kernels it launches for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tilecast.api.options import Option
from tilecast.base.errors import InputError
from tilecast.base.progress import doing
from tilecast.models.registry import ModelSpec

if TYPE_CHECKING:
    from tilecast.graph.kernels import KernelGraph
    from tilecast.models.workload import Workload

Model = Annotated[str, Option("a config.json, a hub id, or a name of `tilecast list models`")]
Gpu = Annotated[str | None, Option("a device file, or H100, ... (`tilecast list devices`); a system has its own")]
Mode = Annotated[Literal["inference", "training"], Option("what is run")]
Phase = Annotated[Literal["prefill", "decode"], Option("part of inference")]
Context = Annotated[int, Option("tokens already cached, for --phase decode", "context", 0)]
Sequence = Annotated[int | None, Option("tokens per sequence (default: 1024, or all positions)", "sequence")]
Batch = Annotated[int, Option("sequences per step", "batch")]
Dtype = Annotated[Literal["fp32", "tf32", "fp16", "bf16"], Option("number format")]
Attention = Annotated[Literal["eager", "fused"], Option("written out, or as one kernel")]
Engine = Annotated[
    Literal["compiled", "eager"] | None,
    Option(
        "compiled: kernels fused, products of one input merged, in a CUDA graph; eager: PyTorch launches them one "
        "by one (default: compiled for inference, eager for training)"
    ),
]
WeightFormat = Annotated[
    Literal["int4", "int8", "fp8", "mxfp4"] | None, Option("of layers' weights alone, widened as they are read")
]
CacheFormat = Annotated[Literal["bf16", "fp8"] | None, Option("of the cache of keys and values (default: bf16)")]
Host = Annotated[
    Literal["slow", "usual", "fast", "new"] | None,
    Option("of --engine eager: how fast the host launches (default: not known, the interval spans them)"),
]
Optimizer = Annotated[Literal["sgd", "momentum", "adam", "adamw"] | None, Option("add its step to training")]
Forecaster = Annotated[
    Literal["tilecast", "neusight", "habitat", "li", "roofline"], Option("what forecasts a kernel's latency")
]
Weights = Annotated[str | None, Option("folder of a predictor you trained (tilecast train)", metavar="DIR")]
PriceFile = Annotated[str | None, Option("in place of data/prices.yaml", metavar="FILE")]


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


def workload(spec: ModelSpec, sequence: int | None, where: str, **given: Any) -> Workload:
    """The workload that the options describe; more tokens than a model has positions are refused."""
    from tilecast.models.workload import check_positions, usual_length  # pydantic, which a borrowed host may lack
    from tilecast.models.workload import workload as checked

    asked = checked({**given, "model": spec, "sequence": sequence or usual_length(spec)}, f"tilecast {where}")
    check_positions(spec, 1 if asked.phase == "decode" else asked.sequence_length, asked.context)
    return asked


def traced(model: Any, command: str, **step: Any) -> KernelGraph:
    """The graph of a model's configuration, or of a module, doing one step."""
    if isinstance(model, ModelSpec):
        from tilecast.graph.source import kernel_graph

        return kernel_graph(model, **step)
    with torch_needed(command), doing("tracing the module"):
        from tilecast.graph.tracer import trace

        return trace(model, **step)
