"""Per-operator latencies of one layer: measured, and as the authors predicted them.

As in the end-to-end tables `backward_ms` is the whole backward, accumulation included: the artifact's
`bw_latency + acc_latency` (its `bwall_latency`); `accumulation_ms` is the part of it that accumulates gradients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.store import combine, parse_csv, parse_json
from tilecast.tables.declared.artifact import OPERATOR_LABELS, OPERATOR_PREDICTIONS

_LAYER = re.compile(r"_(?:h|layers?|block)_(\d+)_")
_TAIL = re.compile(r"(?:add|dropout)(?:_\d+)?")  # the residual addition that ends a layer bears no layer's name
_PARTS = {"fw_latency": "forward_ms", "bw_latency": "backward_ms", "acc_latency": "accumulation_ms"}


def repeats(nodes: Sequence[str], layers: int) -> list[int]:
    """How often each node of a traced graph occurs in the whole model of `layers` layers.

    The artifact traces one layer and the rest of the model: nodes from the first to the last that names layer 0,
    with the addition that ends it, count once a layer. Where several layers are listed, every node counts once.
    """
    found = [match and match[1] for match in map(_LAYER.search, nodes)]
    counts = [1] * len(nodes)
    if set(found) - {None} != {"0"}:
        return counts
    first, last = found.index("0"), len(found) - 1 - found[::-1].index("0")
    while last + 1 < len(nodes) and _TAIL.fullmatch(nodes[last + 1]):
        last += 1
    counts[first : last + 1] = [layers] * (last + 1 - first)
    return counts


def _part(
    path: str, files: dict[str, bytes], device: str, columns: dict[str, str]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The file's cell, and its columns under tidy names."""
    frame = parse_csv(path, files[path], columns | _PARTS)
    sum_of = frame[["backward_ms", "accumulation_ms"]].apply(pd.to_numeric, errors="coerce")
    # What is not a number stays as it is: the check of the whole table names it.
    frame["backward_ms"] = sum_of.sum(axis="columns", skipna=False).fillna(frame["backward_ms"])
    frame["position"] = range(len(frame))
    whole = path.removesuffix("csv") + "json"
    layers = parse_json(whole, files[whole], ()).get("num_layer") if whole in files else None
    frame["repeats"] = repeats(
        frame["name"].fillna("").astype("str").tolist(), layers if isinstance(layers, int) else 1
    )
    return {"device": device, **names.workload(path)._asdict(), "source": path}, frame


def read_operator_labels(files: dict[str, bytes]) -> pd.DataFrame:
    """The `operator_labels` table from `label/<device>/<workload>.csv`."""
    parts = []
    for path, data in files.items():
        if path.startswith(names.LABELS) and path.endswith(".csv"):
            # One file of the artifact (L4, switch4) names its columns as the predictions do.
            total = "e2e_latency" if b"e2e_latency" in data.split(b"\n", 1)[0] else "latency"
            parts.append(_part(path, files, path.split("/")[-2], {"Name": "name", total: "latency_ms"}))
    return combine(parts, OPERATOR_LABELS)


def read_operator_predictions(files: dict[str, bytes]) -> pd.DataFrame:
    """The `operator_predictions` table from `results/prediction/<device>/<predictor>/<workload>.csv`."""
    parts = []
    for path in files:
        if path.startswith(names.PREDICTIONS) and path.endswith(".csv"):
            device, folder = path.split("/")[-3:-1]
            columns = {"Name": "name", "OpName": "operator", "e2e_latency": "latency_ms"}
            cell, frame = _part(path, files, device, columns)
            parts.append(({"predictor": names.predictor_of(folder), **cell}, frame))
    return combine(parts, OPERATOR_PREDICTIONS)
