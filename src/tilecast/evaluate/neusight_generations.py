"""NeuSight's architecture in the half-precision protocol: trained and tested on the same generations left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.base.arrays import Array
from tilecast.evaluate.generations import FOLDS, known_devices, sampled, summary
from tilecast.hardware.device import Device
from tilecast.predict.baselines import neusight
from tilecast.predict.physics.half import TILES
from tilecast.predict.train.baselines import _seconds_per_wave
from tilecast.predict.train.generations import Groups, Rows
from tilecast.predict.train.network import Recipe, fit
from tilecast.tables.declared.half_precision import PROTOCOL

NEUSIGHT_ROWS, NEUSIGHT_TESTED = 1500, 4000


def neusight_protocol(
    groups: Groups, folder: Path, seed: int = 0, progress: Callable[[str], None] = print
) -> pd.DataFrame:
    """NeuSight's own architecture trained on bf16 products of the generations inside each fold.

    Trained on NEUSIGHT_ROWS rows of a GPU, for fewer passes than its authors', and tested on NEUSIGHT_TESTED. It
    looks up the tile of the nearest profiled kernel; the wheel names none, so each kernel gets the one that wastes
    least.
    """
    every, found, table = known_devices(), groups["gemm/bf16"], []
    recipe = Recipe(3e-4, 256, 12, cosine=True)
    sizes = [4, *[neusight.HIDDEN] * (neusight.LAYERS - 1), 3]

    def waves(device: str, rows: Rows) -> neusight.Waves:
        dims = rows.dims | {"b": np.ones(len(rows.measured_ms))}
        features = neusight.device_features(every[device], "linear", "bf16")
        return neusight.waves("linear", dims, _least_waste(dims, every[device]), features, 2)

    for kind, generation, more in FOLDS:
        out, parts = {generation, *more}, []
        for device, rows in sampled({"": found}, NEUSIGHT_ROWS, seed)[""].items():
            if GENERATIONS[device] not in out:
                known = waves(device, rows)
                measured = rows.measured_ms / 1e3 / known.count
                arrays = (known.inputs, known.count, known.gflop / known.roofline, measured)
                parts.append([array[rows.good] for array in arrays])
        names = ("inputs", "count", "full_speed", "measured")
        data = {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}
        progress(f"neusight {kind} {generation}: {len(data['measured'])} kernels")
        checkpoint = folder / f"{'-'.join(sorted(out)).replace(' ', '_')}.safetensors"
        weights, record = fit(data, sizes, _seconds_per_wave, recipe, seed, checkpoint, lambda line: None)
        progress(f"validation error {record['validation_mape_percent']} %")
        for device, rows in sampled({"": found}, NEUSIGHT_TESTED, seed + 1)[""].items():
            if GENERATIONS[device] != generation:
                continue
            known = waves(device, rows)
            alpha, gamma = neusight.network(weights, known.inputs)
            with np.errstate(divide="ignore"):
                forecast = np.maximum(1e3 * known.count * known.seconds_per_wave(alpha, gamma), 0)
            about = (kind, generation, device, "gemm", "bf16", "neusight")
            table.append(summary(about, rows, forecast))
    return pd.DataFrame(table, columns=list(PROTOCOL.columns))


def _least_waste(dims: Mapping[str, Array], device: Device) -> Array:
    """(columns, rows) of the library tile that computes least beyond the results wanted; the larger of equals."""
    m, n = dims["m"], dims["n"]
    sizes = np.array(sorted(TILES, key=lambda tile: -tile[0] * tile[1]), dtype=float)
    blocks = np.ceil(m[:, None] / sizes[:, 0]) * np.ceil(n[:, None] / sizes[:, 1])
    computed = np.ceil(blocks / device.sm_count) * device.sm_count * sizes.prod(axis=1)
    return np.asarray(sizes[computed.argmin(axis=1)][:, ::-1])
