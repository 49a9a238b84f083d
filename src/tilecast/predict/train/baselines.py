"""Training of the baselines and of NeuSight from measured kernels, and how far two trainings lie apart."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path, write_text
from tilecast.hardware.device import Device
from tilecast.predict.baselines import habitat, neusight
from tilecast.predict.baselines.li import Li
from tilecast.predict.kernel import LARGE, MATRIX_FAMILIES, Predictor, complete
from tilecast.predict.registry import load_predictor
from tilecast.predict.train.network import Recipe, fit
from tilecast.predict.weights import write_arrays, write_record

Progress = Callable[[str], None]

# The authors' configuration files: 100 passes at a constant rate. The bmm weights shipped are of a shorter one, as
# their record says: 30 passes at a rate falling from 3e-4, batches of 512.
NEUSIGHT = {
    "bmm": Recipe(1e-5, 128, 100),
    "linear": Recipe(5e-3, 128, 100),
    "elementwise": Recipe(5e-4, 64, 100),
    "softmax": Recipe(1e-6, 16, 100),
    "norm": Recipe(1e-6, 16, 100),
}
# Theirs for Habitat takes 100 passes at 5e-5; larger batches and a falling rate get as far in a tenth of the time.
HABITAT = dict.fromkeys(MATRIX_FAMILIES, Recipe(3e-4, 512, 20, cosine=True, loss="mape"))
# Leaving each of five GPUs out takes five trainings: shorter ones, fixed before any was run. Softmax and norm see
# the same sum of rates as in the authors' recipe.
SHORTER = {
    "neusight": {
        "bmm": Recipe(3e-4, 512, 10, cosine=True),
        "linear": Recipe(3e-4, 512, 20, cosine=True),
        "elementwise": Recipe(5e-4, 64, 30, cosine=True),
        "softmax": Recipe(5e-6, 16, 40, cosine=True),
        "norm": Recipe(5e-6, 16, 40, cosine=True),
    },
    "habitat": dict.fromkeys(MATRIX_FAMILIES, Recipe(3e-4, 512, 12, cosine=True, loss="mape")),
}


def neusight_examples(kernels: pd.DataFrame, family: str, devices: Mapping[str, Device]) -> dict[str, Array]:
    """Training data of NeuSight's network of a family: the paper's filter, and only rows of known tile."""
    rows = kernels[(kernels["family"] == family) & (kernels["dtype"] == "fp32")]
    if family in LARGE:
        b, m = LARGE[family]
        rows = rows[(rows["b"] > b) & (rows["m"] > m)]
    tiles = neusight.profiled_tiles(rows) if len(rows) else np.zeros((0, 2))
    rows, tiles = rows[tiles[:, 0] > 0], tiles[tiles[:, 0] > 0]
    if len(rows) < 10:
        raise InputError("kernels", f"{len(rows)} {family} kernels to train on", "measure more, or other families")
    dims = neusight.dimensions(complete(rows))
    cast = neusight.waves(family, dims, tiles, neusight.table_features(rows, devices))
    measured = rows["latency_ms"].to_numpy(dtype=float) / 1e3 / cast.count
    full_speed = cast.gflop / cast.roofline
    return {"inputs": cast.inputs, "count": cast.count, "full_speed": full_speed, "measured": measured}


def _first(outputs: Any, data: Mapping[str, Any]) -> Any:
    return outputs[:, 0]


def _seconds_per_wave(outputs: Any, data: Mapping[str, Any]) -> Any:
    alpha, gamma = outputs[:, 0].sigmoid(), outputs[:, 2].sigmoid()
    return data["full_speed"] / (gamma - alpha / data["count"])


def habitat_examples(kernels: pd.DataFrame, family: str, devices: Mapping[str, Device]) -> dict[str, Array]:
    """Training data of Habitat's network of a family; `mean` and `std` of its inputs are kept with the weights."""
    rows = kernels[(kernels["family"] == family) & (kernels["dtype"] == "fp32")]
    if len(rows) < 10:
        raise InputError("kernels", f"{len(rows)} {family} kernels to train on", "measure more")
    known = {name: habitat.device_inputs(devices[name]) for name in rows["device"].unique()}
    raw = habitat.inputs(rows, np.stack([known[name] for name in rows["device"]]))
    mean, std = raw.mean(axis=0), np.where(raw.std(axis=0) > 0, raw.std(axis=0), 1)
    measured = rows["latency_ms"].to_numpy(dtype=float)
    return {"inputs": (raw - mean) / std, "measured": measured, "mean": mean, "std": std}


_EXACT = ("mean", "std")  # of a network's inputs: stored in single precision beside its weights


def train_networks(
    name: str,
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    progress: Progress = print,
    recipes: Mapping[str, Recipe] | None = None,
) -> dict[str, Any]:
    """Train NeuSight's or Habitat's networks into `folder`, beside what they look up; returns `record.json`.

    What was trained so far is kept in checkpoints: a later call goes on from there and ends with the same weights.
    """
    hidden = [neusight.HIDDEN] * (neusight.LAYERS - 1)
    if name == "neusight":
        recipes, examples, head, outputs = recipes or NEUSIGHT, neusight_examples, _seconds_per_wave, 3
        looked_up = {"profiles": neusight.pack_profiles(neusight.profiles_of(kernels, devices))}
    else:
        recipes, examples, head, outputs = recipes or HABITAT, habitat_examples, _first, 1
        looked_up = {"references": habitat.references_of(kernels, devices)}
    records = {}
    for family, recipe in recipes.items():
        data = examples(kernels, family, devices)
        exact = {key: data.pop(key) for key in _EXACT if key in data}
        progress(f"{name} {family}: {len(data['measured'])} kernels")
        checkpoint = folder / f".{family}.checkpoint.safetensors"
        sizes = [data["inputs"].shape[1], *hidden, outputs]
        weights, records[family] = fit(data, sizes, head, recipe, seed, checkpoint, progress)
        halves = {key: array.astype(np.float16) for key, array in weights.items()}
        single = {key: array.astype(np.float32) for key, array in exact.items()}
        write_arrays(folder, family, halves | single)
    for stem, arrays in looked_up.items():
        write_arrays(folder, stem, arrays)
    return _record(folder, name, kernels, records, [f"{stem}.safetensors" for stem in (*recipes, *looked_up)])


def leave_one_out_networks(
    name: str,
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    progress: Progress = print,
) -> dict[str, Any]:
    """Errors of NeuSight or Habitat on each GPU when trained on the others by SHORTER; resumable in `folder`."""
    from tilecast.predict.train.leave_one_out import leave_one_out

    everyone = sorted(kernels["device"].unique())

    def fitted(rest: pd.DataFrame) -> Predictor:
        left_out = sorted(set(everyone) - set(rest["device"].unique()))[0]
        progress(f"{name} without {left_out}")
        train_networks(name, rest, devices, folder / left_out, seed, progress, SHORTER[name])
        return load_predictor(name, folder / left_out)

    errors: dict[str, dict[str, float]] = {}
    for row in leave_one_out(fitted, kernels, devices).to_dict("records"):
        errors.setdefault(row["family"], {})[row["device"]] = round(row["mape_percent"], 2)
    return {
        "predictor": name,
        "seed": seed,
        "recipes": {family: asdict(recipe) for family, recipe in SHORTER[name].items()},
        "leave_one_gpu_out_mape_percent": errors,
    }


def train_li(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    progress: Progress = print,
) -> dict[str, Any]:
    """Fit Li et al.'s lines into `folder`."""
    fitted = Li.fit(kernels, devices)
    write_text(folder / "lines.json", fitted.to_json())
    progress(f"li: {sum(len(lines) for lines in fitted.lines.values())} lines")
    rows = {family: {"devices": sorted(lines)} for family, lines in fitted.lines.items()}
    return _record(folder, "li", kernels, rows, ["lines.json"])


def train_seeds(
    name: str,
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seeds: Iterable[int],
    progress: Progress = print,
) -> str:
    """Train networks once a seed, each in `folder/seed-N`, and keep the median one's in `folder`; returns a line.

    Seeds are ranked by their families' mean validation error, so no held-out figure decides. `seeds.json` has all.
    """
    records = {seed: train(name, kernels, devices, folder / f"seed-{seed}", seed, progress) for seed in seeds}
    scores = {seed: _validation(record["families"]) for seed, record in records.items()}
    ranked = sorted(records, key=lambda seed: (scores[seed]["mean"], seed))
    kept = ranked[len(ranked) // 2]
    table = pd.DataFrame(scores).T.rename_axis("seed").assign(kept=[seed == kept for seed in scores])
    write_text(folder / "seeds.json", table.round(3).to_json(orient="index", indent=1))
    for file in (*records[kept]["sha256"], "record.json"):
        with atomic_path(folder / file) as temporary:
            shutil.copyfile(folder / f"seed-{kept}" / file, temporary)
    means = table["mean"].astype(float)
    figures = f"mean {means.mean():.2f} %, from {means.min():.2f} to {means.max():.2f} %"
    return f"{name}: validation error of {len(ranked)} seeds {figures}; seed {kept} is the median and is kept"


def _validation(families: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Validation errors of a training by family, and their mean."""
    errors = {family: record["validation_mape_percent"] for family, record in families.items()}
    return errors | {"mean": float(np.mean(list(errors.values())))}


def train(
    name: str,
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    progress: Progress = print,
) -> dict[str, Any]:
    """Train the named predictor on the `kernels` table into `folder`, going on where an earlier call stopped."""
    if kernels.empty:
        raise InputError("kernels", "there are none to train on", "the full artifact, or kernels of your own")
    unknown = sorted(set(kernels["device"]) - set(devices))
    if unknown:
        raise InputError("kernels", f"device {unknown[0]} has no specification", "add it to data/devices")
    if name == "tilecast":
        from tilecast.predict.train.experts import train_tilecast

        return train_tilecast(kernels, devices, folder, seed, progress)
    if name == "li":
        return train_li(kernels, devices, folder, progress)
    if name not in SHORTER:
        raise InputError(name, "is no predictor that is trained", "expected tilecast, neusight, habitat, li")
    return train_networks(name, kernels, devices, folder, seed, progress)


def _record(
    folder: Path, name: str, kernels: pd.DataFrame, families: Mapping[str, Any], files: Iterable[str]
) -> dict[str, Any]:
    record = {"predictor": name, "devices": sorted(kernels["device"].unique()), "families": families}
    return write_record(folder, record, files)


def distance(new: Any, shipped: Any, kernels: pd.DataFrame, devices: Mapping[str, Device]) -> pd.DataFrame:
    """How far two trainings' forecasts lie apart, in percent of the shipped one's, by family over `devices`."""
    parts = []
    for device in devices.values():
        a, b = (p.predict(kernels, device)["latency_ms"].to_numpy(dtype=float) for p in (new, shipped))
        apart = 100 * np.abs(a - b) / np.maximum(b, 1e-9)
        parts.append(pd.DataFrame({"family": kernels["family"].to_numpy(), "percent": apart}))
    grouped = pd.concat(parts).groupby("family")["percent"]
    return grouped.agg(kernels="size", median_percent="median", worst_percent="max").reset_index()
