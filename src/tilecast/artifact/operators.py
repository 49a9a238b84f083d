"""Per-operator latencies of one layer: measured, and as the authors predicted them.

As in the end-to-end tables `backward_ms` is the whole backward, accumulation included: the artifact's
`bw_latency + acc_latency` (its `bwall_latency`); `accumulation_ms` is the part of it that accumulates gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.artifact import names
from tilecast.artifact.store import combine, parse_csv

if TYPE_CHECKING:
    import pandas as pd


def _part(path: str, data: bytes, device: str, columns: dict[str, str]) -> pd.DataFrame:
    """The file's columns under tidy names, beside its cell."""
    import pandas as pd

    frame = parse_csv(path, data, columns).rename(columns=columns)
    if frame.empty:
        return frame.reindex(columns=[])
    for name in ("forward_ms", "bw", "accumulation_ms", "latency_ms"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").where(frame[name].notna())
    frame["backward_ms"] = frame.pop("bw") + frame["accumulation_ms"]
    frame["position"] = range(len(frame))
    frame["device"] = device
    for name, value in names.workload(path)._asdict().items():
        frame[name] = value
    frame["source"] = path
    return frame


def read_operator_labels(files: dict[str, bytes]) -> pd.DataFrame:
    """The `operator_labels` table from `label/<device>/<workload>.csv`."""
    parts = {}
    for path, data in files.items():
        if not path.startswith(names.LABELS) or not path.endswith(".csv"):
            continue
        # One file of the artifact (L4, switch4) names its total as the predictions do.
        total = "e2e_latency" if b"e2e_latency" in data.split(b"\n", 1)[0] else "latency"
        parts[path] = _part(path, data, path.split("/")[-2], {"Name": "name", total: "latency_ms", **_PARTS})
    return combine(parts, "operator_labels")


def read_operator_predictions(files: dict[str, bytes]) -> pd.DataFrame:
    """The `operator_predictions` table from `results/prediction/<device>/<predictor>/<workload>.csv`."""
    parts = {}
    for path, data in files.items():
        if not path.startswith(names.PREDICTIONS) or not path.endswith(".csv"):
            continue
        device, folder = path.split("/")[-3:-1]
        columns = {"Name": "name", "OpName": "operator", "e2e_latency": "latency_ms", **_PARTS}
        parts[path] = _part(path, data, device, columns)
        parts[path]["predictor"] = names.predictor_of(folder)
    return combine(parts, "operator_predictions")


_PARTS = {"fw_latency": "forward_ms", "bw_latency": "bw", "acc_latency": "accumulation_ms"}
