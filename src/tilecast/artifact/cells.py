"""End-to-end latencies, measured and as the authors predicted them, their devices.

`backward_ms` is the whole backward pass, accumulation of gradients included (the artifact's `bwall_latency`).
The artifact writes 0 for a part it did not record (all four-GPU cells); here that part is empty.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.store import parse_json
from tilecast.base.errors import InputError
from tilecast.tables.declared.artifact import DEVICES, LABELS, PREDICTIONS
from tilecast.tables.io import check, empty
from tilecast.tables.schema import Table


def _cell(path: str, device: str, data: bytes) -> dict[str, Any]:
    work = names.workload(path)
    found = parse_json(path, data, ("e2e_latency", "fw_latency", "bwall_latency"))
    recorded = found["fw_latency"] > 0 or found["bwall_latency"] > 0
    return {
        "device": device,
        **work._asdict(),
        "latency_ms": found["e2e_latency"],
        "forward_ms": found["fw_latency"] if recorded else None,
        "backward_ms": found["bwall_latency"] if recorded and work.mode == "training" else None,
        "layers": found.get("num_layer") or 0,  # null where the authors did not note it
        "source": path,
    }


def read_labels(files: dict[str, bytes]) -> pd.DataFrame:
    """The `labels` table from `label/<device>/<workload>.json`."""
    rows = []
    for path, data in files.items():
        if path.startswith(names.LABELS) and path.endswith(".json"):
            rows.append(_cell(path, path.split("/")[-2], data))
            if rows[-1]["latency_ms"] == 0:
                raise InputError(path, "`e2e_latency` = 0 cannot have been measured")
    return _table(rows, LABELS)


def read_predictions(files: dict[str, bytes]) -> pd.DataFrame:
    """The `predictions` table from `results/prediction/<device>/<predictor>/<workload>.json`."""
    rows = []
    for path, data in files.items():
        if path.startswith(names.PREDICTIONS) and path.endswith(".json"):
            device, folder = path.split("/")[-3:-1]
            cell = _cell(path, device, data)
            del cell["layers"]
            rows.append({"predictor": names.predictor_of(folder), **cell})
    return _table(rows, PREDICTIONS)


def _table(rows: list[dict[str, Any]], table: Table) -> pd.DataFrame:
    """The rows as a checked table, sorted by its key."""
    if not rows:
        return empty(table)
    checked = check(pd.DataFrame(rows), table, f"the artifact's {table}")
    return checked.sort_values(list(table.key), ignore_index=True)


_DEVICE_NUMBERS = ("Dev_Mem", "Mem_Bw", "Num_Sm", "Core_Per_SM", "Freq", "L2Cache")


def read_devices(files: dict[str, bytes]) -> pd.DataFrame:
    """The `devices` table from `data/device_configs/<device>.json`, in SI units.

    `training_gpu`: the predictors were trained on its kernels, as the artifact's training folders say.
    """
    trained = {PurePosixPath(path).stem for path in files if path.startswith(names.TRAINING_DEVICES)}
    rows = []
    for path, data in files.items():
        if not path.startswith(names.DEVICES) or not path.endswith(".json"):
            continue
        device = PurePosixPath(path).stem
        found = parse_json(path, data, _DEVICE_NUMBERS, ("SingleFLOPs", "SingleFLOPsVEC", "SingleFLOPsMM"))
        if names.device_of(str(found.get("Device"))) != device:
            continue  # a variant of another device (NVIDIA_H100_80GB_HBM3_TP): listed among the defects
        vector = found.get("SingleFLOPsVEC", found.get("SingleFLOPs", 0))
        rows.append(
            {
                "device": device,
                "name": found["Device"],
                "vendor": "AMD" if device.startswith("AMD") else "NVIDIA",
                "memory_bytes": found["Dev_Mem"] * 2.0**30,
                "bandwidth_bytes_per_s": found["Mem_Bw"] * 1e9,
                "sm_count": found["Num_Sm"],
                "cores_per_sm": found["Core_Per_SM"],
                "clock_hz": found["Freq"] * 1e6,  # the artifact's README says GHz, its files hold MHz
                "fp32_flops_per_s": vector * 1e9,
                "fp32_matrix_flops_per_s": found.get("SingleFLOPsMM", vector) * 1e9,
                "l2_bytes": found["L2Cache"] * 2.0**20,
                "training_gpu": device in trained,
                "source": path,
            }
        )
    return _table(rows, DEVICES)
