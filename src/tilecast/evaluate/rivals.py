"""`tilecast` beside its simple rivals on the artifact: whole cells, and kernels of a GPU left out of training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.evaluate.baselines import RIVALS, Timed, Work, compared, rivals
from tilecast.evaluate.errors import SEEN_DEVICES, cell_errors
from tilecast.evaluate.goals import OURS, PLAIN, THEIRS
from tilecast.hardware.device import Device
from tilecast.predict.artifact_graphs import Workloads, forecast_all
from tilecast.predict.experts import chip_weights
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES, complete, forecast_frame
from tilecast.predict.physics.chip import single_chip
from tilecast.predict.physics.single import OPS
from tilecast.predict.tilecast import GAP_MS, Tilecast
from tilecast.predict.train.experts import Examples, launch_offsets
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import BASELINES
from tilecast.tables.io import check
from tilecast.tables.naming import vendor

KINDS = {"all": {}, "inference": {"mode": "inference"}, "training": {"mode": "training"}}
GROUPS: dict[str, dict[str, Any]] = KINDS | {
    "GPUs in training": {"seen": True},
    "GPUs held out": {"seen": False},
    "H100": {"device": "NVIDIA_H100_80GB_HBM3"},
    "L4": {"device": "NVIDIA_L4"},
    "A100-80GB": {"device": "NVIDIA_A100_80GB_PCIe"},
}


class Measured:
    """The artifact's training kernels by GPU and family: times a GPU was busy, and the work at its peaks."""

    def __init__(self, kernels: pd.DataFrame, devices: Mapping[str, Device], decay: float) -> None:
        self.devices, self.decay = devices, decay
        rows = kernels[(kernels["split"] == "train") & (kernels["dtype"] == "fp32")]
        launch = launch_offsets(rows)
        self.chips = {name: single_chip(devices[name]) for name in launch}
        self.examples = {
            (str(name), family): Examples(part, family, self.chips[str(name)], launch[str(name)])
            for (name, family), part in rows.groupby(["device", "family"])
            if family in MEASURED_FAMILIES
        }
        self.timed = {
            key: (work_of(one.dims, one.op, one.moved, devices[key[0]], key[1]), one.busy)
            for key, one in self.examples.items()
        }
        self.rivals = lru_cache(maxsize=None)(self._rivals)

    def _rivals(self, family: str, name: str, without: tuple[str, ...]) -> dict[str, Any]:
        """Rivals of a family for a GPU: by its own kernels where it was measured, else by all GPUs'."""
        known: dict[str, Timed] = {
            gpu: self.timed[gpu, family]
            for gpu in self.chips
            if (gpu, family) in self.timed and gpu not in without
        }
        if name in known:
            own = rivals({name: known[name]}, name)
            others = {gpu: timed for gpu, timed in known.items() if gpu != name}
            return own | {"grid": rivals(others, next(iter(others)))["grid"]}
        donors = {gpu: self.chips[gpu] for gpu in known}
        weights = chip_weights(single_chip(self.devices[name]), donors, family in MATRIX_FAMILIES, self.decay)
        return rivals(known, max(weights, key=weights.__getitem__))


def work_of(dims: Mapping[str, Array], op: Array, moved: Array, device: Device, family: str) -> Work:
    """Kernels of a family on a GPU at its specified peaks; of vector kernels the operation tells shapes apart."""
    matrix = family in MATRIX_FAMILIES
    b, m, n, k = (dims[name] for name in "bmnk")
    columns = [np.log2(part) for part in ((b, m, n, k) if matrix else (b, m))]
    flops = 2 * b * m * n * k if matrix else np.zeros(len(b))
    shape = np.stack([*columns, np.zeros(len(b)) if matrix else 99.0 * op], axis=1)
    compute = 1e3 * flops / device.peak_flops_per_s("fp32", matrix=True)
    return Work(shape, compute, 1e3 * moved / device.bandwidth_bytes_per_s)


class Rival:
    """One rival as a predictor of kernels; what was never timed moves its bytes at peak bandwidth."""

    def __init__(self, name: str, measured: Measured, without: Collection[str] = ()) -> None:
        self.name, self.measured, self.without = name, measured, tuple(without)

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latencies without intervals."""
        frame = complete(kernels)
        moved = (frame["bytes_read"] + frame["bytes_written"]).to_numpy(dtype=float)
        latency = 1e3 * moved / device.bandwidth_bytes_per_s
        ops = np.array([OPS.index(op) if op in OPS else 0 for op in frame["op"]])
        for family in set(frame["family"]) & set(MEASURED_FAMILIES):
            rows = (frame["family"] == family).to_numpy()
            dims = {name: frame.loc[rows, name].to_numpy(dtype=float) for name in "bmnk"}
            work = work_of(dims, ops[rows], moved[rows], device, family)
            latency[rows] = self.measured.rivals(family, device.name, self.without)[self.name](work)
        return forecast_frame(frame, latency, np.full(len(frame), "bandwidth"))


def baselines(
    model: Tilecast, measured: Measured, work: Workloads, labels: pd.DataFrame, errors: pd.DataFrame
) -> pd.DataFrame:
    """The `baselines` table: errors of `tilecast`, the authors and the rivals, and who is closer how often."""
    parts = [*_cells(measured, work, labels, errors), *_left_out(model, measured)]
    table = pd.concat(parts, ignore_index=True)
    return check(table[list(BASELINES.columns)], BASELINES, "baselines table")


def _cells(
    measured: Measured, work: Workloads, labels: pd.DataFrame, errors: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    nvidia = {name: device for name, device in measured.devices.items() if device.vendor == "NVIDIA"}
    found = [forecast_all(Rival(name, measured), work, nvidia).cells for name in RIVALS]
    every = pd.concat(
        [errors[errors["predictor"].isin((OURS, THEIRS))], *(cell_errors(labels, one) for one in found)]
    )
    every = every[(every["option"] == PLAIN["option"]) & (every["device"].map(vendor) == "NVIDIA")]
    wide = every.pivot(index=list(CELL_KEY), columns="predictor", values="predicted_ms").dropna()
    truth = every.groupby(list(CELL_KEY))["measured_ms"].first().loc[wide.index].to_numpy(dtype=float)
    cells = wide.index.to_frame(index=False)
    cells["seen"] = cells["device"].isin(SEEN_DEVICES)
    for name, of in GROUPS.items():
        some = np.ones(len(cells), dtype=bool)
        for column, value in of.items():
            some &= (cells[column] == value).to_numpy()
        if some.any():
            views = {who: wide[who].to_numpy(dtype=float)[some] for who in (OURS, THEIRS, *RIVALS)}
            yield compared({"suite": "end to end", "group": name}, truth[some], views, OURS)


def _left_out(model: Tilecast, measured: Measured) -> Iterator[pd.DataFrame]:
    """Large kernels of each training GPU by what the other GPUs teach; GPUs count by their kernels."""
    for family in MEASURED_FAMILIES:
        truth, views = [], {name: [] for name in (OURS, *RIVALS)}  # type: ignore[var-annotated]
        for name in measured.chips:
            if (name, family) not in measured.examples:
                continue
            one = measured.examples[name, family]
            rows = one.large if one.large.any() else np.ones(len(one.busy), dtype=bool)
            device, fewer = measured.devices[name], _without(model, name)
            ops = np.array(OPS, dtype=object)[one.op[rows]]
            table = pd.DataFrame(
                {"family": family, "op": ops if family == "elementwise" else family}
                | {key: v[rows] for key, v in one.dims.items()}
            )
            views[OURS].append(fewer.predict(complete(table), device)["latency_ms"].to_numpy() - GAP_MS)
            work = measured.timed[name, family][0].where(rows)
            for rival in RIVALS:
                views[rival].append(measured.rivals(family, name, (name,))[rival](work))
            truth.append(one.busy[rows])
        if truth:
            joined = {name: np.concatenate(parts) for name, parts in views.items()}
            yield compared(
                {"suite": "kernels, GPU left out", "group": family}, np.concatenate(truth), joined, OURS
            )


def _without(model: Tilecast, name: str) -> Tilecast:
    """The predictor as if a GPU had never been measured."""
    rest = {gpu: families for gpu, families in model.experts.items() if gpu != name}
    widths = {
        kind: {
            family: {gpu: width for gpu, width in known.items() if gpu != name} for family, known in every.items()
        }
        for kind, every in model.meta["half_width"].items()
    }
    devices = {gpu: chip for gpu, chip in model.meta["devices"].items() if gpu != name}
    return Tilecast(rest, {**model.meta, "devices": devices, "half_width": widths})
