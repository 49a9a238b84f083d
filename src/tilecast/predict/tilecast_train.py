"""Training of `tilecast`: experts a GPU and family, their leave-one-GPU-out errors, the intervals' half-widths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.errors import InputError
from tilecast.files import atomic_path, write_text
from tilecast.hardware.device import Device
from tilecast.predict import conformal
from tilecast.predict.base import BINARY_OPS, MATRIX_FAMILIES
from tilecast.predict.features import LEARNED, OPS, Rates, matrix_features, rates, vector_features
from tilecast.predict.tilecast import DECAY, Expert, Tilecast, donor_weights

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

HIDDEN, EPOCHS, BATCH, RATE, DECAY_WEIGHTS = 32, 120, 512, 5e-3, 1e-4
MEMBERS = 2  # networks an expert, of different seeds, averaged
HELD_BACK = 0.2  # share of a GPU's kernels an expert is judged on before it is trained on all
LEAST_ROWS = 200
# What an isolated kernel's shortest time holds besides its launch, and the shortest time told apart from zero.
SHORTEST_MS, LEAST_MS = 0.008, 0.003
LARGE_FLOPS, LARGE_BYTES, LARGE_WEIGHT = 1e10, 3e7, 3.0  # kernels that make up a model's time count thrice


def launch_offsets(kernels: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Milliseconds of launch in an isolated kernel's time, by GPU and operation: the least seen, less a kernel."""
    least = kernels.groupby(["device", "op"])["latency_ms"].quantile(0.01).reset_index()
    offsets: dict[str, dict[str, float]] = {}
    for device, op, value in least.itertuples(index=False):
        offsets.setdefault(str(device), {})[str(op)] = round(max(float(value) - SHORTEST_MS, 0.002), 6)
    for values in offsets.values():
        values.setdefault("add", float(np.median(list(values.values()))))
    return offsets


class Examples:
    """Kernels of one family on one GPU, as an expert sees them."""

    def __init__(self, rows: pd.DataFrame, family: str, on: Rates, launch: Mapping[str, float]) -> None:
        self.family = family
        self.dims = {name: rows[name].to_numpy(dtype=float) for name in "bmnk"}
        ops = rows["op"].to_numpy()
        b, m, n, k = self.dims.values()
        matrix = family in MATRIX_FAMILIES
        operands = np.where(np.isin(ops, sorted(BINARY_OPS)), 2.0, 1.0)
        self.moved = 4 * (b * (m * k + k * n + m * n) if matrix else b * m * (operands + 1))
        self.op = np.array([OPS.index(op) if op in OPS else 0 for op in ops])
        self.measured = rows["latency_ms"].to_numpy(dtype=float)
        self.launch = np.array([launch[op] for op in ops])
        self.busy = np.maximum(self.measured - self.launch, LEAST_MS)
        self.large = 2 * b * m * n * k > LARGE_FLOPS if matrix else self.moved > LARGE_BYTES
        share = np.clip(self.busy / (self.busy + 0.01), 0.05, 1)  # short kernels are mostly launch: count less
        self.weight = np.where(self.large, LARGE_WEIGHT, 1.0) * share
        self.features, self.base = self.cast(on)

    def cast(self, on: Rates) -> tuple[Array, Array]:
        """Features and base milliseconds at the rates `on`."""
        if self.family in MATRIX_FAMILIES:
            return matrix_features(self.family, self.dims, on, 4.0)
        return vector_features(self.family, self.dims, self.moved, self.op, on)


def fit_expert(features: Array, target: Array, weight: Array, seed: int) -> Expert:
    """A network fitted to `target` by AdamW under a one-cycle rate; absolute errors beyond 5 % count linearly."""
    import torch

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32))
    wanted = torch.from_numpy(target.astype(np.float32))[:, None]
    shares = torch.from_numpy((weight / weight.mean()).astype(np.float32))[:, None]
    network = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], HIDDEN), torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1),
    )  # fmt: skip
    with torch.no_grad():
        network[4].bias.fill_(float(np.median(target)))
        network[4].weight.mul_(0.1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY_WEIGHTS)
    steps = EPOCHS * -(-len(target) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1, pct_start=0.1)
    zero = torch.zeros(())
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(target)).split(BATCH):
            optimiser.zero_grad()
            error = network(inputs[rows]) - wanted[rows]
            loss = torch.nn.functional.smooth_l1_loss(error, zero.expand_as(error), beta=0.05, reduction="none")
            (loss * shares[rows]).mean().backward()
            optimiser.step()
            schedule.step()
    layers = tuple(p.detach().numpy().T.astype(np.float16).astype(np.float32) for p in network.parameters())
    return Expert(mean.astype(np.float32).astype(float), scale.astype(np.float32).astype(float), layers)


def _error(measured: Array, forecast: Array) -> float:
    return round(float(100 * np.mean(np.abs(forecast / measured - 1))), 2)


def fit(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    seed: int = 0,
    progress: Callable[[str], None] = print,
) -> Tilecast:
    """Train on measured fp32 kernels (the `kernels` table's training rows) of the given devices."""
    kernels = kernels[(kernels["dtype"] == "fp32") & kernels["family"].isin(LEARNED)]
    names = sorted(set(kernels["device"].unique()) & set(devices))
    if not names:
        raise InputError("kernels", "no fp32 kernel of a known device to train on", "measure some first")
    launch = launch_offsets(kernels)
    on = {name: rates(devices[name]) for name in names}
    examples: dict[tuple[str, str], Examples] = {}
    experts: dict[str, dict[str, tuple[Expert, ...]]] = {name: {} for name in names}
    within: dict[str, list[tuple[Array, Array]]] = {}
    own: dict[str, dict[str, float]] = {}
    for name in names:
        for family in LEARNED:
            rows = kernels[(kernels["device"] == name) & (kernels["family"] == family)]
            if len(rows) < LEAST_ROWS:
                continue
            data = examples[name, family] = Examples(rows, family, on[name], launch[name])
            target = np.log(data.busy / data.base)
            held = np.random.default_rng(seed).random(len(target)) < HELD_BACK
            judge = fit_expert(data.features[~held], target[~held], data.weight[~held], seed)
            forecast = data.base[held] * np.exp(judge.correction(data.features[held])) + data.launch[held]
            large = data.large[held] if data.large[held].any() else np.ones(held.sum(), dtype=bool)
            within.setdefault(family, []).append((data.measured[held][large], forecast[large]))
            own.setdefault(family, {})[name] = _error(data.measured[held][large], forecast[large])
            experts[name][family] = tuple(
                fit_expert(data.features, target, data.weight, seed + member) for member in range(MEMBERS)
            )
            progress(f"tilecast {name} {family}: {len(rows)} kernels, held-back error {own[family][name]} %")
    left_out, across = leave_one_out(examples, experts, on)
    meta = {
        "predictor": "tilecast",
        "data": _fingerprint(kernels),
        "seed": seed,
        "members": MEMBERS,
        "decay": DECAY,
        "devices": {name: on[name].record() for name in names},
        "families": {name: sorted(experts[name]) for name in names},
        "launch_ms": {name: launch[name] for name in names},
        "half_width": {
            "seen": {family: round(_half_width(parts), 4) for family, parts in within.items()},
            "unseen": across,
        },
        "held_back_mape_percent": own,
        "leave_one_gpu_out_mape_percent": left_out,
    }
    return Tilecast(experts, meta)


def _half_width(parts: list[tuple[Array, Array]]) -> float:
    measured, forecast = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return conformal.half_width(measured, forecast)


def leave_one_out(
    examples: Mapping[tuple[str, str], Examples],
    experts: Mapping[str, Mapping[str, tuple[Expert, ...]]],
    on: Mapping[str, Rates],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """How each GPU's large kernels are forecast by the other GPUs' experts: percent error, interval half-width."""
    errors: dict[str, dict[str, float]] = {}
    widths: dict[str, dict[str, float]] = {}
    for (name, family), data in examples.items():
        donors = {other: on[other] for other in on if other != name and family in experts[other]}
        if not donors:
            continue
        weights = donor_weights(on[name], donors, family in MATRIX_FAMILIES, DECAY)
        correction = sum(
            (weight * experts[other][family][0].correction(data.features) for other, weight in weights.items()),
            np.zeros(len(data.base)),
        )
        rows = data.large if data.large.any() else np.ones(len(data.large), dtype=bool)
        forecast = (data.base * np.exp(correction))[rows]
        errors.setdefault(family, {})[name] = _error(data.busy[rows], forecast)
        widths.setdefault(family, {})[name] = round(conformal.half_width(data.busy[rows], forecast), 4)
    return errors, widths


def _fingerprint(kernels: pd.DataFrame) -> str:
    """A short hash of the numbers trained on."""
    digest = hashlib.sha256()
    for column in ("b", "m", "n", "k", "latency_ms"):
        digest.update(kernels[column].to_numpy(dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def train_tilecast(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    folder: Path,
    seed: int = 0,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train into `folder`: `experts.safetensors` (half precision) and `record.json`; returns the record."""
    from safetensors.numpy import save_file

    model = fit(kernels, devices, seed, progress)
    with atomic_path(folder / "experts.safetensors") as temporary:
        save_file(model.arrays(), temporary)
    write_text(folder / "record.json", json.dumps(model.meta, indent=2, sort_keys=True) + "\n")
    return dict(model.meta)
