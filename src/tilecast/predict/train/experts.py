"""Training of `tilecast`: experts a GPU and family, their leave-one-GPU-out errors, the intervals' half-widths."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path
from tilecast.base.statistics import absolute_error_percent
from tilecast.hardware.device import Device
from tilecast.predict import interval
from tilecast.predict.experts import LEAST_DEVIATION, Expert, chip_weights
from tilecast.predict.kernel import BINARY_OPS, MATRIX_FAMILIES, MEASURED_FAMILIES
from tilecast.predict.physics.chip import Chip, single_chip
from tilecast.predict.physics.single import OPS, matrix_features, vector_features
from tilecast.predict.tilecast import DECAY, SHORTEST_MS, Tilecast
from tilecast.predict.weights import write_arrays, write_record

HIDDEN, EPOCHS, BATCH, RATE, DECAY_WEIGHTS = 32, 120, 512, 5e-3, 1e-4
MEMBERS = 2  # networks an expert, of different seeds, averaged
HELD_BACK = 0.2  # share of a GPU's octaves of shape an expert is judged on before it is trained on all
LEAST_ROWS = 100  # of a family on a GPU: `tilecast measure kernels` plans 160
LEAST_MS = 0.003  # the shortest time told apart from zero
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
    """Measured kernels of one family on one GPU, with features, targets and weights for training."""

    def __init__(self, rows: pd.DataFrame, family: str, on: Chip, launch: Mapping[str, float]) -> None:
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
        self.features, self.base = self.physics(on)

    def identity(self, seed: int) -> str:
        """A hash of everything a training depends on: the numbers, the seed, the recipe."""
        recipe = (seed, HIDDEN, EPOCHS, BATCH, RATE, DECAY_WEIGHTS, MEMBERS, HELD_BACK, LARGE_WEIGHT)
        digest = hashlib.sha256(repr(recipe).encode())
        for numbers in (self.features, self.base, self.measured, self.launch):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()

    def physics(self, on: Chip) -> tuple[Array, Array]:
        """Features and base milliseconds at the rates `on`."""
        if self.family in MATRIX_FAMILIES:
            return matrix_features(self.family, self.dims, on, 4.0)
        return vector_features(self.family, self.dims, self.moved, self.op, on)


def fit_expert(features: Array, target: Array, weight: Array, seed: int, bounded: bool = False) -> Expert:
    """A network fitted to `target` by AdamW under a one-cycle rate; absolute errors beyond 5 % count linearly.

    `bounded`: it is asked within the range of these features only.
    """
    import torch

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    mean, scale = features.mean(axis=0), features.std(axis=0) + LEAST_DEVIATION
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32))
    wanted = torch.from_numpy(target.astype(np.float32))[:, None]
    shares = torch.from_numpy((weight / weight.mean()).astype(np.float32))[:, None]
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    first, second, last = linear(features.shape[1], HIDDEN), linear(HIDDEN, HIDDEN), linear(HIDDEN, 1)
    network = torch.nn.Sequential(first, relu(), second, relu(), last)
    with torch.no_grad():
        last.bias.fill_(float(np.median(target)))
        last.weight.mul_(0.1)
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
    low, high = (features.min(axis=0), features.max(axis=0)) if bounded else (None, None)
    return Expert(mean.astype(np.float32).astype(float), scale.astype(np.float32).astype(float), layers, low, high)


def _error(measured: Array, forecast: Array) -> float:
    return round(float(np.mean(absolute_error_percent(forecast, measured))), 2)


def _counted(large: Array) -> Array:
    """Which kernels an error is of: large ones, which make up a model's time, where there are any."""
    return large if large.any() else np.ones(len(large), dtype=bool)


def octaves_held_back(data: Examples, seed: int) -> Array:
    """Kernels held back to judge an expert: whole cells of a grid of octaves, a fifth of those that hold kernels.

    A kernel a user asks about has no neighbour in the training data that differs by a few percent only, as one
    held back at random has.
    """
    dims = np.stack([*data.dims.values(), data.op], axis=1)
    cells = np.column_stack([np.floor(np.log2(np.maximum(dims[:, :4], 1))), dims[:, 4]])
    kinds, cell = np.unique(cells, axis=0, return_inverse=True)
    held = (np.random.default_rng(seed).random(len(kinds)) < HELD_BACK)[cell.ravel()]
    if held.all() or not held.any():  # all of one shape
        held = np.random.default_rng(seed).random(len(cells)) < HELD_BACK
    return held


@dataclass(frozen=True)
class Judged:
    """An expert, with the forecasts of held-back kernels by one that was trained without them."""

    members: tuple[Expert, ...]
    measured: Array
    forecast: Array
    large: Array

    @classmethod
    def train(cls, data: Examples, seed: int) -> Judged:
        """Fit the judge, then the members on everything."""
        target = np.log(data.busy / data.base)
        held = octaves_held_back(data, seed)
        judge = fit_expert(data.features[~held], target[~held], data.weight[~held], seed)
        forecast = data.base[held] * np.exp(judge.correction(data.features[held])) + data.launch[held]
        members = tuple(fit_expert(data.features, target, data.weight, seed + member) for member in range(MEMBERS))
        return cls(members, data.measured[held], forecast, data.large[held])

    def save(self, path: Path, identity: str) -> None:
        """Write it, for a training that is interrupted later."""
        from safetensors.numpy import save_file

        arrays = {"measured": self.measured, "forecast": self.forecast, "large": self.large}
        for place, member in enumerate(self.members):
            arrays |= member.arrays(str(place))
        with atomic_path(path) as temporary:
            save_file(arrays, temporary, {"training": identity})

    @classmethod
    def load(cls, path: Path, identity: str) -> Judged | None:
        """Read what `save` wrote, if it is of this very training."""
        from safetensors import safe_open

        if not path.exists():
            return None
        with safe_open(path, framework="numpy") as stored:
            if (stored.metadata() or {}).get("training") != identity:
                return None
            found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        members = tuple(Expert.of(found, str(place)) for place in range(MEMBERS))
        return cls(members, found["measured"], found["forecast"], found["large"])

    def error_percent(self) -> float:
        """Mean absolute percentage error of the kernels held back."""
        rows = _counted(self.large)
        return _error(self.measured[rows], self.forecast[rows])


def fit(
    kernels: pd.DataFrame,
    devices: Mapping[str, Device],
    checkpoints: Path,
    seed: int = 0,
    progress: Callable[[str], None] = print,
) -> Tilecast:
    """Train on measured fp32 kernels (the `kernels` table's training rows) of the given devices.

    An expert is kept in `checkpoints` when done: a later call with the same data and seed trains the others only.
    """
    kernels = kernels[(kernels["dtype"] == "fp32") & kernels["family"].isin(MEASURED_FAMILIES)]
    names = sorted(set(kernels["device"].unique()) & set(devices))
    if not names:
        raise InputError("kernels", "no fp32 kernel of a known device to train on", "measure some first")
    most = kernels.groupby(["device", "family"]).size()
    if most.max() < LEAST_ROWS:
        problem = f"no family of a GPU has {LEAST_ROWS} fp32 kernels, the most is {most.max()}"
        raise InputError("kernels", problem, "measure more: an expert takes so many")
    launch = launch_offsets(kernels)
    on = {name: single_chip(devices[name]) for name in names}
    examples: dict[tuple[str, str], Examples] = {}
    experts: dict[str, dict[str, tuple[Expert, ...]]] = {name: {} for name in names}
    widths: dict[str, dict[str, float]] = {}
    own: dict[str, dict[str, float]] = {}
    for name in names:
        for family in MEASURED_FAMILIES:
            rows = kernels[(kernels["device"] == name) & (kernels["family"] == family)]
            if len(rows) < LEAST_ROWS:
                continue
            data = examples[name, family] = Examples(rows, family, on[name], launch[name])
            path, identity = checkpoints / f"{name}.{family}.safetensors", data.identity(seed)
            judged = Judged.load(path, identity)
            how = "as kept" if judged else "trained"
            if judged is None:
                judged = Judged.train(data, seed)
                judged.save(path, identity)
            experts[name][family] = judged.members
            widths.setdefault(family, {})[name] = round(interval.half_width(judged.measured, judged.forecast), 4)
            own.setdefault(family, {})[name] = judged.error_percent()
            progress(
                f"tilecast {name} {family}: {len(rows)} kernels, held-back error {own[family][name]} %, {how}"
            )
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
        "half_width": {"seen": widths, "unseen": across},
        "held_back_mape_percent": own,
        "leave_one_gpu_out_mape_percent": left_out,
    }
    return Tilecast(experts, meta)


def leave_one_out(
    examples: Mapping[tuple[str, str], Examples],
    experts: Mapping[str, Mapping[str, tuple[Expert, ...]]],
    on: Mapping[str, Chip],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """How each GPU's large kernels are forecast by the other GPUs' experts: percent error, interval half-width."""
    errors: dict[str, dict[str, float]] = {}
    widths: dict[str, dict[str, float]] = {}
    for (name, family), data in examples.items():
        donors = {other: on[other] for other in on if other != name and family in experts[other]}
        if not donors:
            continue
        weights = chip_weights(on[name], donors, family in MATRIX_FAMILIES, DECAY)
        correction = sum(
            (weight * experts[other][family][0].correction(data.features) for other, weight in weights.items()),
            np.zeros(len(data.base)),
        )
        rows = _counted(data.large)
        forecast = (data.base * np.exp(correction))[rows]
        errors.setdefault(family, {})[name] = _error(data.busy[rows], forecast)
        widths.setdefault(family, {})[name] = round(interval.half_width(data.busy[rows], forecast), 4)
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
    """Train into `folder`, going on where an earlier call stopped; returns the record."""
    model = fit(kernels, devices, folder / ".checkpoints", seed, progress)
    return save(model.arrays(), model.meta, folder)


def save(arrays: Mapping[str, Array], record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write trained experts as `experts.safetensors` and `record.json`, which is returned."""
    write_arrays(folder, "experts", arrays)
    return write_record(folder, record, ["experts.safetensors"])
