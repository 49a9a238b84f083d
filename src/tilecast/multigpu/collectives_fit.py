"""Fit the curves of collectives to measured tables, and forecast sizes and systems left out of the fit.

`python -m tilecast.multigpu.collectives_fit` writes data/collectives.json: the curves, and those fitted without
one size each. They are shipped because a search for a least square ends a little elsewhere on every machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from tilecast.base.files import write_text
from tilecast.base.paths import CURVES, PUBLISHED
from tilecast.base.statistics import absolute_error_percent
from tilecast.hardware.system import load_system, route
from tilecast.multigpu.collectives import Curve, Line, collective, port_share
from tilecast.tables.declared.multigpu import COLLECTIVE_MEASUREMENTS
from tilecast.tables.io import read

MEASURED = PUBLISHED / "nccl_collectives.csv"
CALIBRATED = ("a100_sxm", "h100_sxm", "l40s")  # all others in the table stay out of every fit
STAND_IN = {"a100_sxm": "h100_sxm", "h100_sxm": "a100_sxm"}  # who forecasts a measured system left out
PROTOCOLS = ("LL", "LL128", "Simple", "Simple")  # by rate; the last with more channels at work
_STARTS = 12
# Where a fit begins: starts and hops in units of the shortest time measured, shares of the link's rate.
_GUESS = {"start": [0.9, 1.3, 2.2, 4.0], "hop": [0.2, 0.2, 0.25, 0.3], "share": [0.03, 0.2, 0.45, 0.75]}
_NVLS_START = 8.0  # NVLS starts later than any ring
_PRIOR = 0.1  # pull of every logarithm towards the guess: lines that little data tells apart stay apart


def _seconds(x: Any, rows: dict[str, Any], nvls: bool) -> Any:
    """Seconds of every row under the parameters' logarithms `x`."""
    count, x = len(PROTOCOLS), np.clip(x, -30, 30)
    start, hop, share = np.exp(x[: 3 * count]).reshape(3, count, 1)
    factor = np.exp(np.append(0.0, x[3 * count : 3 * count + rows["factors"]]))[rows["group"]]
    seconds = start + hop * (rows["gpus"] - 2) + rows["sent"] / (rows["rate"] * share * factor)
    if nvls:
        own = np.exp(x[-2:])
        line = own[0] + (1 + 1 / rows["gpus"]) * rows["bytes"] / (rows["rate"] * own[1])
        seconds = np.vstack([seconds, line])
    return seconds.min(axis=0)


def fit_curve(frame: pd.DataFrame, system_name: str, op: str) -> Curve:
    """The curve through the rows of one system and operation: log times, outliers damped, best of all starts."""
    system = load_system(system_name)
    groups = sorted(int(n) for n in frame["gpus"].unique())
    # The slowest tier of a group; of equally fast ones the outermost.
    legs = {n: min(reversed(route(system, range(n)).legs), key=lambda leg: leg.bytes_per_s) for n in groups}
    nvls = op == "all_reduce" and system.nvls
    # Where NVLS competes, rings beyond two GPUs share one factor: what is faster still at eight is NVLS's doing.
    factors_free = 1 if nvls else len(groups) - 1
    gpus, size = frame["gpus"].to_numpy(dtype=float), frame["bytes"].to_numpy(dtype=float)
    rows = {
        "gpus": gpus,
        "bytes": size,
        "group": np.minimum(np.searchsorted(groups, gpus), factors_free),
        "factors": factors_free,
        "rate": np.array([legs[int(n)].bytes_per_s for n in gpus]),
        "sent": np.array([port_share(op, int(n), legs[int(n)].behind_port) * s for n, s in zip(gpus, size)]),
    }
    target = np.log(frame["latency_ms"].to_numpy() / 1e3)
    least = float(np.exp(target.min()))
    guess = [least * start for start in _GUESS["start"]] + [least * hop for hop in _GUESS["hop"]] + _GUESS["share"]
    guess += [1.0] * factors_free + ([_NVLS_START * least, 0.65] if nvls else [])
    centre = np.log(guess)

    def residuals(x: Any) -> Any:
        return np.append(np.log(_seconds(x, rows, nvls)) - target, _PRIOR * (x - centre))

    draw = np.random.default_rng(0)
    best = None
    for attempt in range(_STARTS):
        first = centre + (draw.normal(0, 0.4, len(guess)) if attempt else 0.0)
        found = least_squares(residuals, first, loss="soft_l1", f_scale=0.1, max_nfev=200)
        if best is None or found.cost < best.cost:
            best = found
    x = [float(f"{value:.5g}") for value in np.exp(np.clip(best.x, -30, 5))]  # type: ignore[union-attr]
    count = len(PROTOCOLS)
    order = sorted(range(count), key=lambda i: x[2 * count + i])
    fitted = [1.0, *x[3 * count : 3 * count + factors_free]]
    factors: dict[str, dict[int, float]] = {}
    for index, n in enumerate(groups):
        factors.setdefault(legs[n].tier.kind, {})[n] = fitted[min(index, factors_free)]
    return Curve(
        lines=tuple(Line(name, x[i], x[count + i], x[2 * count + i]) for name, i in zip(PROTOCOLS, order)),
        nvls=Line("Simple", x[-2], 0.0, x[-1]) if nvls else None,
        factors=factors,
    )


def fit_all(frame: pd.DataFrame) -> dict[str, dict[str, Curve]]:
    """Curves of every calibrated system and operation, without their spreads."""
    known = frame[frame["system"].isin(CALIBRATED)]
    result: dict[str, dict[str, Curve]] = {}
    for (system, op), rows in known.groupby(["system", "op"]):
        result.setdefault(str(system), {})[str(op)] = fit_curve(rows, str(system), str(op))
    return result


_ENDS = ["latency_ms", "low_ms", "high_ms"]


def _forecast(rows: pd.DataFrame, fitted: dict[str, dict[str, Curve]], like: str | None = None) -> pd.DataFrame:
    """Milliseconds of every row with both ends; from the curves of `like` where given."""
    result = []
    for name, op, gpus, size in zip(rows["system"], rows["op"], rows["gpus"], rows["bytes"]):
        system = load_system(name)
        if like is not None:
            tiers = tuple(replace(tier, like=like) for tier in system.tiers)
            system = replace(system, tiers=tiers, measured_as=None)
        found = collective(op, system, range(gpus), size, fitted=fitted)
        result.append([getattr(found, end) for end in _ENDS])
    return pd.DataFrame(result, columns=_ENDS, index=rows.index)


def fit_held_out(frame: pd.DataFrame) -> dict[str, dict[str, dict[str, Curve]]]:
    """For every size of the table the curves fitted without it."""
    return {str(size): fit_all(frame[frame["bytes"] != size]) for size in sorted(frame["bytes"].unique())}


def validate(
    frame: pd.DataFrame, fitted: dict[str, dict[str, Curve]], held_out: dict[str, dict[str, dict[str, Curve]]]
) -> pd.DataFrame:
    """The `collectives` table: each measured row forecast without its size, or from another system's curves."""
    parts = []
    for (system, _), rows in frame.groupby(["system", "op"]):
        rows = rows.rename(columns={"latency_ms": "measured_ms"}).drop(columns="nccl")
        if system in CALIBRATED:
            part = rows.assign(basis="leave-one-size-out", reference=system)
            part["predicted_ms"] = _forecast(rows, fitted)["latency_ms"]
            part["held_out_ms"] = 0.0
            for size in sorted(rows["bytes"].unique()):
                out = part["bytes"] == size
                part.loc[out, "held_out_ms"] = _forecast(part[out], held_out[str(size)])["latency_ms"]
            parts.append(part)
        if system in STAND_IN or system not in CALIBRATED:
            like = STAND_IN.get(str(system)) or load_system(str(system)).tiers[0].like
            found = _forecast(rows, fitted, like).rename(columns={"latency_ms": "held_out_ms"})
            part = rows.join(found).assign(basis="spec-only", reference=like)
            parts.append(part.assign(predicted_ms=part["held_out_ms"]))
    table = pd.concat(parts)
    table["ape_percent"] = absolute_error_percent(table["held_out_ms"], table["measured_ms"])
    return table.sort_values(["basis", "system", "op", "gpus", "bytes"]).reset_index(drop=True)


def train(path: Path = MEASURED) -> dict[str, Any]:
    """What data/collectives.json holds: curves, spreads, and how they were made."""
    frame = read(path, COLLECTIVE_MEASUREMENTS)
    fitted, held_out = fit_all(frame), fit_held_out(frame)
    table = validate(frame[frame["system"].isin(CALIBRATED)], fitted, held_out)
    table["off"] = np.abs(np.log(table["held_out_ms"] / table["measured_ms"]))

    def spread(cells: pd.DataFrame) -> float:
        return float(f"{np.quantile(cells['off'], 0.9):.4g}")

    systems: dict[str, dict[str, Any]] = {}
    for system, ops in sorted(fitted.items()):
        systems[system] = {}
        for op, curve in sorted(ops.items()):
            left_out, others = (
                table[(table["basis"] == basis) & (table["op"] == op)]
                for basis in ("leave-one-size-out", "spec-only")
            )
            own = spread(left_out[left_out["system"] == system])
            systems[system][op] = asdict(replace(curve, spread=own, spec_spread=spread(others)))
    record = {
        "command": "python -m tilecast.multigpu.collectives_fit",
        "data": f"resources/published/{path.name}",
        "data_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": int(frame["system"].isin(CALIBRATED).sum()),
        "systems_used": list(CALIBRATED),
        "systems_kept_out": sorted(set(frame["system"]) - set(CALIBRATED)),
        "method": "least squares of log times, soft L1 at 0.1, weak prior, best of starts; 5 digits",
        "starts": _STARTS,
    }
    without = {
        size: {system: {op: asdict(curve) for op, curve in ops.items()} for system, ops in known.items()}
        for size, known in held_out.items()
    }
    return {"record": record, "systems": systems, "without_size": without}


if __name__ == "__main__":
    write_text(CURVES, json.dumps(train(), sort_keys=True) + "\n")
