"""Penalty of the remote node against the local one, with intervals, from pairs of runs of one block.

Runs of a block are made one after the other, so that what drifts from block to block drops out of their ratio:
blocks are a random effect. Over several GPUs, GPUs are one too: the interval is over the GPUs' means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from tilecast.locality.topology import NOT_HERE, UNKNOWN, local_node
from tilecast.tables.declared.locality import FACTORS

KIND = ["model", "dtype", "compiled"]  # columns; penalties are of one value of each
LEAST = 3  # pairs behind an interval
Pair = tuple[float, float]  # samples per second from the local node and from the remote one


def interval(logs: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Mean of log ratios as a penalty in percent, its Student interval, and its p-value for no difference."""
    values = np.asarray(logs, dtype=float)
    middle, freedom = float(values.mean()), len(values) - 1
    half = chance = math.nan
    if len(values) >= LEAST:
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
        chance = 2 * float(stdtr(freedom, -abs(middle) / error)) if error else float(middle == 0)
    return {
        "penalty_percent": 100 * math.expm1(middle),
        "low_percent": 100 * math.expm1(middle - half),
        "high_percent": 100 * math.expm1(middle + half),
        "p_value": chance,
    }


def compare(runs: pd.DataFrame, topology: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the `numa_comparison` table: for each GPU, remote node, factor and model; and over all GPUs."""
    rows: list[dict[str, Any]] = []
    ok = runs[(runs["status"] == "ok") & (runs["verified"] != "no")]
    for keys, cell in runs.groupby(KIND, sort=False):
        kind = dict(zip(KIND, keys if isinstance(keys, tuple) else (keys,)))
        mine = ok[(ok[KIND] == pd.Series(kind)).all(axis=1)]
        found: dict[str, dict[int, list[float]]] = {}  # factor -> GPU -> log ratios
        for gpu in sorted(set(cell["gpu"])):
            local = local_node(topology, gpu) if topology["testable"] else UNKNOWN
            if local == UNKNOWN:
                reason = topology["verdict"].removeprefix(f"{NOT_HERE}: ")
                if topology["testable"]:
                    reason = f"the kernel does not say which node GPU {gpu} is next to"
                rows.append(_not_tested(gpu, kind, reason))
                continue
            pairs = _pairs(mine[mine["gpu"] == gpu], local)
            if not pairs:
                rows.append(_not_tested(gpu, kind, f"no pair of runs from node {local} and another"))
            for (factor, remote), rates in pairs.items():
                logs = [math.log(here / there) for here, there in rates]
                found.setdefault(factor, {}).setdefault(gpu, []).extend(logs)
                means = [float(np.exp(np.mean(np.log(side)))) for side in zip(*rates)]
                rows.append(
                    {"gpu": str(gpu), "remote_node": str(remote), "factor": factor, "n": len(logs), **kind}
                    | {"local_per_s": means[0], "remote_per_s": means[1], **interval(logs)}
                )
        rows += _over_gpus(kind, found)
    _conclude([row for row in rows if "p_value" in row])
    return rows


def _pairs(runs: pd.DataFrame, local: int) -> dict[tuple[str, int], list[Pair]]:
    """Throughputs of each block from the local and from a remote node, by (factor, remote node)."""
    rates = {
        (int(row["repetition"]), int(row["cpu_node"]), int(row["memory_node"])): float(row["samples_per_s"])
        for row in runs.to_dict("records")
    }
    pairs: dict[tuple[str, int], list[Pair]] = {}
    for (block, cpu, memory), rate in sorted(rates.items()):
        here = rates.get((block, local, local))
        if here is None or (cpu, memory) == (local, local):
            continue
        factor = "both" if cpu == memory else "memory" if cpu == local else "cpu" if memory == local else None
        if factor is not None:
            pairs.setdefault((factor, memory if cpu == local else cpu), []).append((here, rate))
    return dict(sorted(pairs.items(), key=lambda item: (FACTORS.index(item[0][0]), item[0][1])))


def _not_tested(gpu: int, kind: Mapping[str, Any], reason: str) -> dict[str, Any]:
    place = {"gpu": str(gpu), "remote_node": "none", "factor": "both", **kind}
    return place | {"n": 0, "verdict": NOT_HERE, "reason": reason}


def _over_gpus(kind: Mapping[str, Any], found: Mapping[str, dict[int, list[float]]]) -> list[dict[str, Any]]:
    """For every factor moved on two GPUs or more: the mean of the GPUs' means, and its interval over GPUs."""
    return [
        {"gpu": "all", "remote_node": "all", "factor": factor, **kind}
        | {"n": sum(map(len, logs.values())), "reason": f"over {len(logs)} GPUs"}
        | interval([float(np.mean(of_gpu)) for of_gpu in logs.values()])
        for factor, logs in sorted(found.items(), key=lambda item: FACTORS.index(item[0]))
        if len(logs) > 1
    ]


def _conclude(rows: list[dict[str, Any]], level: float = 0.05) -> None:
    """Set the verdict of each row among all of them, since some of many differ by chance (Holm's procedure)."""
    tested = sorted((row for row in rows if not math.isnan(row["p_value"])), key=lambda row: float(row["p_value"]))
    rejecting = True
    for place, row in enumerate(tested):
        rejecting = rejecting and row["p_value"] <= level / (len(tested) - place)
        side = "slower" if row["penalty_percent"] > 0 else "faster"
        row["verdict"] = f"{side} from the remote node" if rejecting else "no difference detected"
    for row in rows:
        row.setdefault("verdict", "too few repetitions")
