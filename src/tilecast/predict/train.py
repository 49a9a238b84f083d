"""Training of the baselines and of NeuSight from measured kernels, and how far two trainings lie apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.errors import InputError
from tilecast.files import atomic_path, write_text
from tilecast.hardware.device import Device
from tilecast.predict import habitat, neusight
from tilecast.predict.base import MATRIX_FAMILIES, complete
from tilecast.predict.fitting import Recipe, fit
from tilecast.predict.li import Li

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str], None]

# The authors' configuration files, 100 passes at a constant rate, but for bmm: theirs (1e-5, batches of 128) takes
# half of all the time; a falling rate over larger batches gets as far on the validation data in a fifth of it.
NEUSIGHT = {
    "bmm": Recipe(3e-4, 512, 30, cosine=True),
    "linear": Recipe(5e-3, 128, 100),
    "elementwise": Recipe(5e-4, 64, 100),
    "softmax": Recipe(1e-6, 16, 100),
    "norm": Recipe(1e-6, 16, 100),
}
# Theirs for Habitat takes 100 passes at 5e-5; larger batches and a falling rate get as far in a tenth of the time.
HABITAT = dict.fromkeys(MATRIX_FAMILIES, Recipe(3e-4, 512, 20, cosine=True, loss="mape"))


def neusight_examples(kernels: pd.DataFrame, family: str, devices: Mapping[str, Device]) -> dict[str, Array]:
    """What NeuSight's network of a family learns from: the paper's filter, and only rows of known tile."""
    rows = kernels[(kernels["family"] == family) & (kernels["dtype"] == "fp32")]
    if family in neusight.LARGE:
        b, m = neusight.LARGE[family]
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


def _seconds_per_wave(outputs: Any, data: Mapping[str, Any]) -> Any:
    alpha, gamma = outputs[:, 0].sigmoid(), outputs[:, 2].sigmoid()
    return data["full_speed"] / (gamma - alpha / data["count"])


def train_neusight(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    passes: int | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """Train every family into `folder`: half-precision weights, tile profiles and `record.json`; returns that."""
    sizes = [4, *[neusight.HIDDEN] * (neusight.LAYERS - 1), 3]
    records = {}
    for family in neusight.FAMILIES:
        recipe = NEUSIGHT[family] if passes is None else replace(NEUSIGHT[family], epochs=passes)
        data = neusight_examples(kernels, family, devices)
        progress(f"neusight {family}: {len(data['measured'])} kernels")
        checkpoint = folder / f".{family}.checkpoint.safetensors"
        weights, records[family] = fit(data, sizes, _seconds_per_wave, recipe, seed, checkpoint, progress)
        _save(weights, folder / f"{family}.safetensors")
    _save_exactly(neusight.pack_profiles(neusight.profiles_of(kernels, devices)), folder / "profiles.safetensors")
    return _record(folder, "neusight", kernels, records)


def train_habitat(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    passes: int | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """Train Habitat's two networks into `folder`, beside its reference measurements and `record.json`."""
    sizes = [8, *[neusight.HIDDEN] * (neusight.LAYERS - 1), 1]
    records = {}
    for family in MATRIX_FAMILIES:
        recipe = HABITAT[family] if passes is None else replace(HABITAT[family], epochs=passes)
        rows = kernels[(kernels["family"] == family) & (kernels["dtype"] == "fp32")]
        if len(rows) < 10:
            raise InputError("kernels", f"{len(rows)} {family} kernels to train on", "measure more")
        known = {name: habitat.device_inputs(devices[name]) for name in rows["device"].unique()}
        raw = habitat.inputs(rows, np.stack([known[name] for name in rows["device"]]))
        mean, std = raw.mean(axis=0), np.where(raw.std(axis=0) > 0, raw.std(axis=0), 1)
        data = {"inputs": (raw - mean) / std, "measured": rows["latency_ms"].to_numpy(dtype=float)}
        progress(f"habitat {family}: {len(rows)} kernels")
        checkpoint = folder / f".{family}.checkpoint.safetensors"
        weights, records[family] = fit(data, sizes, lambda out, _: out[:, 0], recipe, seed, checkpoint, progress)
        _save(weights, folder / f"{family}.safetensors", mean=mean, std=std)
    _save_exactly(habitat.references_of(kernels, devices), folder / "references.safetensors")
    return _record(folder, "habitat", kernels, records)


def train_li(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    passes: int | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """Fit Li et al.'s lines into `folder`; no seed and no passes matter."""
    fitted = Li.fit(kernels, devices)
    write_text(folder / "lines.json", fitted.to_json())
    progress(f"li: {sum(len(lines) for lines in fitted.lines.values())} lines")
    rows = {family: {"devices": sorted(lines)} for family, lines in fitted.lines.items()}
    return _record(folder, "li", kernels, rows)


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
        raise InputError("kernels", f"device {unknown[0]} has no specification", "add it to config/devices")
    if name == "tilecast":
        from tilecast.predict.tilecast_train import train_tilecast

        return train_tilecast(kernels, devices, folder, seed, progress)
    trainers = {"li": train_li, "habitat": train_habitat, "neusight": train_neusight}
    if name not in trainers:
        raise InputError(name, "is no predictor that is trained", f"expected tilecast, {', '.join(trainers)}")
    return trainers[name](kernels, devices, folder, seed, progress=progress)


def _save(weights: Mapping[str, Array], path: Path, **exact: Array) -> None:
    """Weights in half precision, `exact` arrays in single."""
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    _save_exactly(halves | {name: array.astype(np.float32) for name, array in exact.items()}, path)


def _save_exactly(arrays: Mapping[str, Array], path: Path) -> None:
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    with atomic_path(path) as temporary:
        save_file(whole, temporary)


def _record(folder: Path, name: str, kernels: pd.DataFrame, families: Mapping[str, Any]) -> dict[str, Any]:
    record = {"predictor": name, "devices": sorted(kernels["device"].unique()), "families": families}
    write_text(folder / "record.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
    return record


def distance(new: Any, shipped: Any, kernels: pd.DataFrame, devices: Mapping[str, Device]) -> pd.DataFrame:
    """How far two trainings' forecasts lie apart, in percent of the shipped one's, by family over `devices`."""
    import pandas as pd

    parts = []
    for device in devices.values():
        a, b = (p.predict(kernels, device)["latency_ms"].to_numpy(dtype=float) for p in (new, shipped))
        apart = 100 * np.abs(a - b) / np.maximum(b, 1e-9)
        parts.append(pd.DataFrame({"family": kernels["family"].to_numpy(), "percent": apart}))
    grouped = pd.concat(parts).groupby("family")["percent"]
    return grouped.agg(kernels="size", median_percent="median", worst_percent="max").reset_index()
