"""What a workload chooses from, and the names of traced workloads; loads no other package."""

from __future__ import annotations

from typing import NamedTuple

from tilecast.base.errors import InputError

PHASES = ("prefill", "decode")  # of inference
ATTENTION = ("eager", "fused")  # written out, or as one kernel
PRODUCTS = ("fp8", "fp8_block", "nvfp4")  # formats of linear layers below 16 bits, weights and activations
STORED = ("int4", "int8", "fp8", "mxfp4")  # formats of weights alone, widened as they are read
CACHES = ("fp8",)  # of keys and values
# Tensors of the weights' size, in fp32, that each optimizer keeps.
OPTIMIZER_STATES = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}


class Cell(NamedTuple):
    """A traced workload in fp32, named `<model>-<mode>-<sequence length>-<batch size>`."""

    model: str
    mode: str
    sequence_length: int
    batch_size: int

    def __str__(self) -> str:
        return "-".join(str(part) for part in self)

    @classmethod
    def parse(cls, name: str) -> Cell:
        """The cell of a name such as `gpt2_large-training-1024-4`."""
        parts = name.rsplit("-", 3)
        if len(parts) < 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
            raise InputError(name, "is not named <model>-<mode>-<sequence length>-<batch size>", "rename it")
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))
