"""How a model's experts are divided over GPUs, and whether each GPU has the memory for its part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tilecast.base.errors import InputError
from tilecast.moe.model import ACTIVATION_BYTES, MoeModel

RESIDENT, OFFLOADED, IMPOSSIBLE = "resident", "offloaded", "impossible"


@dataclass(frozen=True)
class Spread:
    """Replicas of the model, GPUs that divide a replica's experts, and GPUs that share each layer."""

    replicas: int
    expert: int
    tensor: int = 1

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        return self.replicas * self.expert * self.tensor

    def __str__(self) -> str:
        parts = (("DP", self.replicas), ("EP", self.expert), ("TP", self.tensor))
        return " x ".join(f"{name}{size}" for name, size in parts if size > 1) or "one GPU"


def spreads(gpus: int) -> Iterator[Spread]:
    """Every product of replicas, expert and tensor parallelism with this number of GPUs."""
    for tensor in range(1, gpus + 1):
        for expert in range(1, gpus // tensor + 1):
            if gpus % (tensor * expert) == 0:
                yield Spread(gpus // (tensor * expert), expert, tensor)


@dataclass(frozen=True)
class Placement:
    """Whether a GPU can hold its experts, why, and how many of them."""

    verdict: str
    reason: str
    experts_a_gpu: float  # of one layer
    resident_share: float  # of a GPU's own experts

    @property
    def fits(self) -> bool:
        """Whether every expert is resident."""
        return self.verdict == RESIDENT


def place(
    model: MoeModel,
    spread: Spread,
    memory_bytes: float,
    *,
    tokens: int,
    context_tokens: int,
    reserved_bytes: float = 0.0,
    host_bytes: float = 0.0,
) -> Placement:
    """Whether a GPU of `memory_bytes` holds its experts, other weights, KV cache and activations of `tokens`.

    What does not fit lies in host memory (`host_bytes` for each GPU); InputError where not even one expert fits.
    """
    expert = model.expert_bytes / spread.tensor
    if expert > memory_bytes:
        problem = f"one expert is {_gb(expert)}, a GPU has {_gb(memory_bytes)}"
        raise InputError(model.title, problem, "take a larger GPU")
    held = model.experts / spread.expert
    other = (model.dense_bytes + tokens * context_tokens * model.kv_bytes) / spread.tensor
    other += tokens * model.hidden * ACTIVATION_BYTES * (model.top_k + 4) + reserved_bytes
    own = model.stored_layers * held * expert
    free = memory_bytes - other
    share = min(max(free / own, 0.0), 1.0)
    needed = f"needs {_gb(own + other)} a GPU, which has {_gb(memory_bytes)}"
    verdict = IMPOSSIBLE
    if model.experts % spread.expert:
        reason = f"{model.experts} experts on {spread.expert} GPUs are {held:g} each, no whole number"
    elif own <= free:
        verdict, reason, share = RESIDENT, f"fits: {needed}", 1.0
    elif free < model.stored_layers * expert:
        reason = f"{needed}, and has no room for one expert of each layer beside the rest"
    elif own - free > host_bytes:
        reason = f"{needed}, and the host has {_gb(host_bytes)} a GPU for the rest"
    else:
        verdict = OFFLOADED
        reason = f"does not fit: {needed}; {share:.0%} of its experts stay, the rest come over PCIe"
    return Placement(verdict, reason, held, share)


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
