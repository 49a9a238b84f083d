"""A workload: what a model is to do in one step, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StrictBool,
    model_validator,
)
from pydantic.dataclasses import dataclass

from tilecast.base.errors import InputError
from tilecast.base.inputs import validated
from tilecast.base.limits import MOST
from tilecast.models.architecture import Architecture, equal_layers
from tilecast.models.choices import ATTENTION, CACHES, OPTIMIZER_STATES, PHASES, PRODUCTS, STORED, Cell
from tilecast.models.registry import ModelSpec, load_model
from tilecast.tables.columns import DTYPE_NAMES, MODES


def _one_of(*names: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _spec(value: Any) -> Any:
    return load_model(value) if isinstance(value, str) else value


def _amount(name: str, least: int) -> Any:
    return Field(ge=least, le=MOST[name][0], strict=True)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", populate_by_name=True))
class Workload:
    """What a model is to do in one step, on all GPUs together. In a file the model is named by `model`."""

    spec: Annotated[InstanceOf[ModelSpec], BeforeValidator(_spec), Field(validation_alias="model")]
    batch_size: Annotated[  # sequences, of all replicas
        int, _amount("batch", 1), Field(validation_alias=AliasChoices("batch_size", "batch"))
    ] = 1
    sequence_length: Annotated[  # tokens of each, of a prefill or a training step; a decode step makes one
        int, _amount("sequence", 1), Field(validation_alias=AliasChoices("sequence_length", "sequence"))
    ] = 1024
    mode: Annotated[str, _one_of(*MODES)] = "inference"
    phase: Annotated[str, _one_of(*PHASES)] = "prefill"
    context: Annotated[int, _amount("context", 0)] = 0  # tokens in the cache before a decode step
    dtype: Annotated[str, _one_of(*DTYPE_NAMES)] = "fp32"
    attention: Annotated[str, _one_of(*ATTENTION)] = "eager"
    optimizer: Annotated[str, _one_of(*OPTIMIZER_STATES)] | None = None
    fused: StrictBool = False  # chains of elementwise kernels run as one, as a compiler or hand-written kernels do
    products: Annotated[str, _one_of(*PRODUCTS)] | None = None  # format of layers' products, where not `dtype`
    weights: Annotated[str, _one_of(*STORED)] | None = None  # of layers' weights alone
    cache: Annotated[str, _one_of(*CACHES)] | None = None  # of keys and values
    mixed: StrictBool = True  # half-precision training keeps optimizer states and a copy of the weights in fp32

    @model_validator(mode="after")
    def _agree(self) -> Workload:
        if self.phase == "decode" and self.mode == "training":
            raise ValueError("decode is a phase of inference")
        if self.phase == "prefill" and self.context:
            raise ValueError("a prefill has no `context`: only a decode step finds tokens in the cache")
        return self

    @cached_property
    def architecture(self) -> Architecture:
        """The model's dimensions; InputError where its layers are not all alike."""
        return equal_layers(self.spec)

    @property
    def narrow(self) -> bool:
        """Whether anything is stored in fewer than 16 bits."""
        return bool(self.products or self.weights or self.cache)

    @property
    def tokens(self) -> int:
        """Tokens a step reads (training, prefill) or makes (decode)."""
        return self.batch_size * (1 if self.phase == "decode" else self.sequence_length)

    @property
    def cell(self) -> Cell | None:
        """The name of its kernel list, where it differs in nothing else from the workloads that lists are of."""
        cell = Cell(self.spec.name, self.mode, self.sequence_length, self.batch_size)
        return cell if self == Workload(self.spec, cell.batch_size, cell.sequence_length, cell.mode) else None

    @property
    def optimizer_states(self) -> int:
        """Tensors of the weights' size that the optimizer keeps."""
        return OPTIMIZER_STATES[self.optimizer] if self.optimizer else 0


def workload(values: Mapping[str, Any], where: object) -> Workload:
    """The workload of a file's entry or a command's options; InputError at `where` if it is not one."""
    names = [name for name in Workload.__dataclass_fields__ if name != "spec"]
    return validated(Workload, values, where, f"a workload has model, {', '.join(names)}")


def check_positions(spec: ModelSpec, length: int, context: int) -> None:
    """Refuse more tokens than a model has positions."""
    if spec.positions is not None and length + context > spec.positions:
        problem = f"{length + context} tokens are more than its {spec.positions} positions"
        raise InputError(spec.source, problem, "shorten the sequence")


def usual_length(spec: ModelSpec) -> int:
    """Tokens of a sequence where none are asked for: 1024, or all positions of a model with fewer."""
    return min(1024, spec.positions or 1024)
