"""Where experts lie: which part of them each GPU holds, whether it has the memory, and what is done if not."""

from __future__ import annotations

from dataclasses import dataclass

from tilecast.base.errors import InputError
from tilecast.moe.model import ACTIVATION_BYTES, MoeModel

RESIDENT, OFFLOADED, IMPOSSIBLE = "resident", "offloaded", "impossible"


@dataclass(frozen=True)
class Spread:
    """Replicas of the model, GPUs among which a replica's experts are divided, GPUs that share each layer."""

    replicas: int
    expert: int
    tensor: int = 1

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.replicas * self.expert * self.tensor

    def __str__(self) -> str:
        parts = (("DP", self.replicas), ("EP", self.expert), ("TP", self.tensor))
        return " x ".join(f"{name}{size}" for name, size in parts if size > 1) or "one GPU"


@dataclass(frozen=True)
class Placement:
    """The verdict on a spread: bytes a GPU needs, what it has for experts, how many of its own it can hold."""

    verdict: str
    reason: str
    needed_bytes: float  # of one GPU with every expert resident
    free_bytes: float  # for experts
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
        raise InputError(
            model.title, f"one expert is {_gb(expert)}, a GPU has {_gb(memory_bytes)}", "take a larger GPU"
        )
    held = model.experts / spread.expert
    other = (model.dense_bytes + tokens * context_tokens * model.kv_bytes) / spread.tensor
    other += tokens * model.hidden * ACTIVATION_BYTES * (model.top_k + 4) + reserved_bytes
    own = model.stored_layers * held * expert
    free = memory_bytes - other
    share = min(max(free / own, 0.0), 1.0)
    needed = f"needs {_gb(own + other)} a GPU, which has {_gb(memory_bytes)}"
    if model.experts % spread.expert:
        reason = f"{model.experts} experts on {spread.expert} GPUs are {held:g} each, no whole number"
        return Placement(IMPOSSIBLE, reason, own + other, free, held, share)
    if own <= free:
        return Placement(RESIDENT, f"fits: {needed}", own + other, free, held, 1.0)
    if free < model.stored_layers * expert:
        reason = f"{needed}, and has no room for one expert of each layer beside the rest"
        return Placement(IMPOSSIBLE, reason, own + other, free, held, share)
    if own - free > host_bytes:
        reason = f"{needed}, and the host has {_gb(host_bytes)} a GPU for the rest"
        return Placement(IMPOSSIBLE, reason, own + other, free, held, share)
    reason = f"does not fit: {needed}; {share:.0%} of its experts stay, the rest come over PCIe"
    return Placement(OFFLOADED, reason, own + other, free, held, share)


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
