"""Fitting a network to latencies: resumable after any pass, deterministic for a seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path

if TYPE_CHECKING:
    import torch

Head = Callable[["torch.Tensor", Mapping[str, "torch.Tensor"]], "torch.Tensor"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW's learning rate, examples a step, passes over the data."""

    rate: float
    batch: int
    epochs: int
    cosine: bool = False  # the rate falls to a hundredth along half a cosine
    loss: str = "smape"  # or mape


def fingerprint(data: Mapping[str, Array]) -> str:
    """A short hash of the numbers trained on."""
    digest = hashlib.sha256()
    for name in sorted(data):
        digest.update(data[name].astype(np.float32).tobytes())
    return digest.hexdigest()[:16]


def fit(
    data: Mapping[str, Array],
    sizes: Sequence[int],
    head: Head,
    recipe: Recipe,
    seed: int,
    checkpoint: Path,
    progress: Callable[[str], None],
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Weights with the least validation error on a fifth of `data`, and the record of how they came about.

    `data` has `inputs`, `measured` and what `head(outputs, data)` needs to turn a network's outputs into a
    forecast of `measured`. After each pass everything needed to go on is in `checkpoint`: a later call with the
    same data, recipe and seed goes on from there and ends with the same weights.
    """
    import torch

    torch.use_deterministic_algorithms(True)
    rows = np.random.default_rng(seed).permutation(len(data["measured"]))
    cut = int(0.8 * len(rows))
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in data.items()}
    train, valid = ({name: t[part] for name, t in tensors.items()} for part in (rows[:cut], rows[cut:]))
    model = _network(seed, sizes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, fused=True)
    identity = f"{fingerprint(data)} {seed} {asdict(recipe)} {list(sizes)}"
    state = _resume(checkpoint, identity, model, optimiser)
    best, began = state["best"], time.monotonic() - state["seconds"]
    for epoch in range(state["epoch"], recipe.epochs):
        if recipe.cosine:
            share = 0.01 + 0.99 * (1 + np.cos(np.pi * epoch / recipe.epochs)) / 2
            optimiser.param_groups[0]["lr"] = recipe.rate * share
        order = torch.randperm(cut, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
        for batch in order.split(recipe.batch):
            optimiser.zero_grad()
            some = {name: tensor[batch] for name, tensor in train.items()}
            forecast, measured = head(_outputs(model, some["inputs"]), some), some["measured"]
            scale = measured + forecast.abs() if recipe.loss == "smape" else measured
            ((measured - forecast) / scale).abs().mean().backward()
            optimiser.step()
        with torch.no_grad():
            forecast = head(_outputs(model, valid["inputs"]), valid).clamp(min=0)
            error = float(((valid["measured"] - forecast) / valid["measured"]).abs().mean())
        if error < state["error"]:
            best = {name: value.detach().clone() for name, value in model.state_dict().items()}
            state["error"], state["best_epoch"] = error, epoch
        state |= {"epoch": epoch + 1, "best": best, "seconds": time.monotonic() - began}
        _save(checkpoint, identity, model, optimiser, state)
        left = state["seconds"] / (epoch + 1) * (recipe.epochs - epoch - 1)
        progress(f"pass {epoch + 1}/{recipe.epochs}  validation {error:.1%}  about {left:.0f} s left")
    if state["error"] == np.inf:
        raise InputError(
            f"seed {seed}", "no pass of its training had a finite validation error", "give another --seed"
        )
    record = {
        **asdict(recipe),
        "seed": seed,
        "rows": len(rows),
        "data": fingerprint(data),
        "best_epoch": state["best_epoch"] + 1,
        "validation_mape_percent": round(100 * state["error"], 3),
        "training_s": round(state["seconds"], 1),
    }
    return {name: value.numpy() for name, value in best.items()}, record


def _network(seed: int, sizes: Sequence[int]) -> torch.nn.ModuleList:
    import torch

    torch.manual_seed(seed)
    return torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes))


def _outputs(model: torch.nn.ModuleList, inputs: torch.Tensor) -> torch.Tensor:
    import torch

    x = inputs
    for layer in model[:-1]:
        x = torch.relu(layer(x))
    outputs: torch.Tensor = model[-1](x)
    return outputs


def _save(path: Path, identity: str, model: Any, optimiser: Any, state: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state["best"].items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
    plain = {name: state[name] for name in ("epoch", "error", "best_epoch", "seconds")}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"identity": identity, "state": json.dumps(plain)})


def _resume(path: Path, identity: str, model: Any, optimiser: Any) -> dict[str, Any]:
    """The state to continue from: the checkpoint's, if it is of this very training, else a fresh one."""
    from safetensors import safe_open

    fresh = {"epoch": 0, "error": float("inf"), "best_epoch": -1, "seconds": 0.0, "best": {}}
    if not path.exists():
        return fresh
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
        if metadata.get("identity") != identity:
            return fresh
        parts: dict[str, dict[str, Any]] = {"model": {}, "best": {}, "optimiser": {}}
        for key in stored.keys():  # noqa: SIM118 - not a mapping
            part, name = key.split(".", 1)
            parts[part][name] = stored.get_tensor(key)
    model.load_state_dict(parts["model"])
    whole = optimiser.state_dict()
    for name, value in parts["optimiser"].items():
        index, key = name.split(".")
        whole["state"].setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(whole)
    return fresh | json.loads(metadata["state"]) | {"best": parts["best"]}
