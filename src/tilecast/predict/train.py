"""Training of the NeuSight re-implementation: per family, resumable, deterministic for a seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.errors import InputError
from tilecast.files import atomic_path, write_text
from tilecast.hardware.device import Device
from tilecast.predict import neusight
from tilecast.predict.base import complete

if TYPE_CHECKING:
    import pandas as pd
    import torch

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Recipe:
    """How one family is trained: AdamW's learning rate, examples a step, passes over the data."""

    rate: float
    batch: int
    epochs: int
    cosine: bool = False  # the rate falls to a hundredth along half a cosine


PAPER = {  # the authors' configuration files: a constant rate, 100 passes
    "bmm": Recipe(1e-5, 128, 100),
    "linear": Recipe(5e-3, 128, 100),
    "elementwise": Recipe(5e-4, 64, 100),
    "softmax": Recipe(1e-6, 16, 100),
    "norm": Recipe(1e-6, 16, 100),
}
# The two large families in a third of the paper's passes: larger batches, a falling rate.
RECIPES = PAPER | {"bmm": Recipe(3e-4, 512, 30, True), "linear": Recipe(1e-3, 256, 50, True)}


@dataclass(frozen=True)
class Examples:
    """What the network of one family learns from: its inputs, the known terms, and seconds measured."""

    cast: neusight.Waves
    seconds: Array

    def take(self, rows: Array) -> Examples:
        """The examples of some rows."""
        cast = neusight.Waves(
            *(getattr(self.cast, name)[rows] for name in ("inputs", "count", "gflop", "roofline"))
        )
        return Examples(cast, self.seconds[rows])


def examples(kernels: pd.DataFrame, family: str, devices: Mapping[str, Device]) -> Examples:
    """Training examples of a family from the `kernels` table: the paper's filter, and only rows of known tile."""
    rows = kernels[(kernels["family"] == family) & (kernels["dtype"] == "fp32")]
    if family in neusight.LARGE:
        b, m = neusight.LARGE[family]
        rows = rows[(rows["b"] > b) & (rows["m"] > m)]
    if rows.empty:
        raise InputError("kernels", f"no {family} kernel to train on", "measure some, or name another predictor")
    tiles = neusight.profiled_tiles(rows)
    rows, tiles = rows[tiles[:, 0] > 0], tiles[tiles[:, 0] > 0]
    dims = neusight.dimensions(complete(rows))
    cast = neusight.waves(family, dims, tiles, neusight.table_features(rows, devices))
    return Examples(cast, rows["latency_ms"].to_numpy(dtype=float) / 1e3)


def fingerprint(data: Examples) -> str:
    """A short hash of the numbers trained on."""
    digest = hashlib.sha256(data.cast.inputs.astype(np.float32).tobytes())
    digest.update(data.seconds.astype(np.float32).tobytes())
    return digest.hexdigest()[:16]


def fit(
    data: Examples,
    recipe: Recipe,
    seed: int,
    checkpoint: Path,
    progress: Callable[[str], None],
    weights: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Weights with the least validation error on a fifth of the data, and the record of how they came about.

    After each epoch everything needed to go on is in `checkpoint`; a later call with the same data, recipe and
    seed goes on from there and ends with the same weights.
    """
    import torch

    torch.use_deterministic_algorithms(True)
    rows = np.random.default_rng(seed).permutation(len(data.seconds))
    cut = int(0.8 * len(rows))
    train, valid = (_tensors(data.take(part)) for part in (rows[:cut], rows[cut:]))
    model = _network(seed, weights)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, foreach=True)
    identity = f"{fingerprint(data)} {seed} {asdict(recipe)}"
    state = _resume(checkpoint, identity, model, optimiser)
    best, began = state["best"], time.monotonic() - state["seconds"]
    for epoch in range(state["epoch"], recipe.epochs):
        if recipe.cosine:
            share = 0.01 + 0.99 * (1 + np.cos(np.pi * epoch / recipe.epochs)) / 2
            optimiser.param_groups[0]["lr"] = recipe.rate * share
        order = torch.randperm(cut, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
        for batch in order.split(recipe.batch):
            optimiser.zero_grad()
            time_per_wave, measured = _forward(model, train, batch)
            loss = ((measured - time_per_wave) / (measured + time_per_wave)).abs().mean()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            time_per_wave, measured = _forward(model, valid, slice(None))
            error = float(((measured - time_per_wave.clamp(min=0)) / measured).abs().mean())
        if error < state["error"]:
            best = {name: value.detach().clone() for name, value in model.state_dict().items()}
            state["error"], state["best_epoch"] = error, epoch
        state |= {"epoch": epoch + 1, "best": best, "seconds": time.monotonic() - began}
        _save(checkpoint, identity, model, optimiser, state)
        left = state["seconds"] / (epoch + 1) * (recipe.epochs - epoch - 1)
        progress(f"epoch {epoch + 1}/{recipe.epochs}  validation {error:.1%}  about {left:.0f} s left")
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


def _network(seed: int, weights: Mapping[str, Array] | None) -> torch.nn.ModuleList:
    import torch

    torch.manual_seed(seed)
    sizes = [4, *[neusight.HIDDEN] * (neusight.LAYERS - 1), 3]
    layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
    if weights is not None:
        layers.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return layers


def _tensors(data: Examples) -> dict[str, torch.Tensor]:
    import torch

    arrays = {"inputs": data.cast.inputs, "count": data.cast.count, "measured": data.seconds / data.cast.count}
    arrays["peak_s"] = data.cast.gflop / data.cast.roofline  # a wave's time at full utilisation
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}


def _forward(model: torch.nn.ModuleList, data: Mapping[str, torch.Tensor], rows: Any) -> tuple[Any, Any]:
    """Seconds per wave, forecast and measured."""
    import torch

    x = data["inputs"][rows]
    for layer in model[:-1]:
        x = torch.relu(layer(x))
    out = torch.sigmoid(model[-1](x))
    return data["peak_s"][rows] / (out[:, 2] - out[:, 0] / data["count"][rows]), data["measured"][rows]


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
    """The state to go on from: the checkpoint's where it is of this very training, else the beginning."""
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


def train_neusight(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    families: tuple[str, ...] = neusight.FAMILIES,
    epochs: int | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train every family into `folder`: half-precision weights, tile profiles and `record.json`; returns it."""
    from safetensors.numpy import save_file

    records = {}
    for family in families:
        recipe = RECIPES[family] if epochs is None else replace(RECIPES[family], epochs=epochs)
        data = examples(kernels, family, devices)
        checkpoint = folder / f".{family}.checkpoint.safetensors"
        progress(f"neusight {family}: {len(data.seconds)} kernels")
        weights, records[family] = fit(data, recipe, seed, checkpoint, progress)
        halves = {name: array.astype(np.float16) for name, array in weights.items()}
        with atomic_path(folder / f"{family}.safetensors") as temporary:
            save_file(halves, temporary)
    with atomic_path(folder / "profiles.safetensors") as temporary:
        save_file(neusight.pack_profiles(neusight.profiles_of(kernels, devices)), temporary)
    record = {"predictor": "neusight", "devices": sorted(kernels["device"].unique()), "families": records}
    write_text(folder / "record.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
    return record
