"""`tilecast`, this project's own predictor: physics first, a small learned correction, experts a GPU.

Every training GPU has an expert a kernel family: a network of two hidden layers that corrects the physical base
time from dimensionless features (see `features`). A GPU an expert was trained on is forecast by that expert. Any
other GPU is forecast by the experts of the GPUs most like it, each fed with the new GPU's own physics, and
averaged geometrically with weights that fall with the distance between the two.

A kernel measured on its own costs the launch its harness waits for besides (`isolated` column true); within a
running model launches overlap with the kernel before, and a short gap remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.documents import read_json, read_tensors
from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.predict import interval
from tilecast.predict.kernel import KERNEL_COLUMNS, MATRIX_FAMILIES, complete
from tilecast.predict.physics.single import LEARNED, OPS, Rates, matrix_features, rates, vector_features

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK, BLOCK = 1 << 13, 1 << 19  # kernels worked on (in the cache), and columns copied (in memory), at a time
# ASSUME: kernels of a running model are launched ahead of time and follow each other after a short gap; what a
# slow host adds is a matter of the whole pass (`issue_ms`). The least time measured of an isolated kernel is its
# launch and this: the shortest time any kernel keeps a GPU busy, however little it does.
GAP_MS, SHORTEST_MS = 0.002, 0.008
# ASSUME: share of peak bandwidth and FLOP/s where no kernel of that kind was measured (copies, attention, ...)
STREAM_SHARE, WORK_SHARE = 0.85, 0.6
VECTORS = 2  # matrix products with at most so many rows or columns are matrix-vector ones
# ASSUME: a board short of power lends a model's matrix products what its memory-bound kernels leave: a quarter of
# the time at 60 % of the power. A kernel timed on its own, run after run, has no such share.
SHORT_OF_POWER, SHARED_POWER = 0.9, 1 / (1 + 0.25 * (1 - 0.6) / 0.75)
DECAY = 0.7  # distance over which a GPU's weight as a donor falls to 1/e; chosen leaving one GPU out
LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class Expert:
    """A network of two hidden layers over standardised features: log of measured time over base time."""

    mean: Array
    scale: Array
    layers: tuple[Array, ...]  # weight, bias, weight, bias, weight, bias

    @cached_property
    def first(self) -> tuple[Array, Array]:
        """The first layer over features as they are: standardisation folded into weight and bias."""
        weight = self.layers[0].astype(float) / self.scale[:, None]
        return weight.astype(np.float32), (self.layers[1] - self.mean @ weight).astype(np.float32)

    def correction(self, features: Array) -> Array:
        """The log of the correction, one a row of features: in double precision, whatever it is computed with."""
        # Rounded singly, a product's last bits depend on how many rows there are.
        x = features.astype(float, copy=False)
        for weight, bias in (self.first, self.layers[2:4]):
            x = x @ weight
            x += bias
            np.maximum(x, 0, out=x)
        return np.asarray((x @ self.layers[4])[:, 0] + self.layers[5], dtype=float)

    def arrays(self) -> dict[str, Array]:
        """Named arrays, to be stored."""
        return {"mean": self.mean, "scale": self.scale} | {str(i): layer for i, layer in enumerate(self.layers)}


def distance(one: Rates, other: Rates, matrix: bool) -> float:
    """How unlike two GPUs are, in generations; the step from Pascal counts twice: libraries were rewritten then.

    Matrix products also differ with the lanes a multiprocessor has and with operations per byte (half a
    generation a doubling). Vector kernels change less from one generation to the next.
    """
    generations = abs(one.generation - other.generation)
    rewritten = float((one.generation == 0) != (other.generation == 0))
    if not matrix:
        return 0.4 * generations + 0.8 * rewritten
    ratio = [rates.flops_per_s / rates.bandwidth_bytes_per_s for rates in (one, other)]
    doublings = abs(np.log2(one.lanes / other.lanes)) + abs(np.log2(ratio[0] / ratio[1]))
    return float(generations + rewritten + 0.5 * doublings)


def same_chip(one: Rates, other: Rates) -> bool:
    """Whether two boards carry the same silicon at the same clock: they differ in memory or power alone."""
    alike = (one.sm_count, one.lanes, one.generation) == (other.sm_count, other.lanes, other.generation)
    return alike and abs(one.peak_flops_per_s / other.peak_flops_per_s - 1) < 0.05


def donor_weights(target: Rates, donors: Mapping[str, Rates], matrix: bool, decay: float) -> dict[str, float]:
    """Weight of each training GPU in the forecast of `target`; the same chip, where there is one, speaks alone.

    For matrix products a GPU short of power is a less certain example.
    """
    twins = [name for name, donor in donors.items() if same_chip(target, donor)]
    if twins:
        return dict.fromkeys(twins, 1 / len(twins))
    raw = {
        name: np.exp(-distance(target, donor, matrix) / (decay if matrix else 1.0))
        * (min(1.0, donor.flops_per_s / donor.peak_flops_per_s) if matrix else 1.0)
        for name, donor in donors.items()
    }
    total = sum(raw.values())
    kept = {name: weight / total for name, weight in raw.items() if weight / total >= LEAST_WEIGHT}
    return {name: float(weight / sum(kept.values())) for name, weight in kept.items()}


class Tilecast:
    """The trained predictor. `experts[device][family]`; `meta` is its training record."""

    name = "tilecast"

    def __init__(self, experts: Mapping[str, Mapping[str, tuple[Expert, ...]]], meta: Mapping[str, Any]) -> None:
        self.experts, self.meta = experts, meta
        self._launches: dict[float, dict[str, float]] = {}  # quantile of hosts -> launch of each operation
        self.donors = {name: Rates(**record) for name, record in meta["devices"].items()}

    @classmethod
    def load(cls, folder: Path = WEIGHTS / "tilecast") -> Tilecast:
        """Read `experts.safetensors` and `record.json` of a folder of trained weights."""
        meta = read_json(folder / "record.json", "train it: `tilecast train`")
        stored = read_tensors(folder / "experts.safetensors", "train it: `tilecast train`")
        try:
            experts: dict[str, dict[str, tuple[Expert, ...]]] = {}
            for device in meta["devices"]:
                experts[device] = {}
                for family in meta["families"][device]:
                    keys = [f"{device}/{family}/{seed}" for seed in range(meta["members"])]
                    experts[device][family] = tuple(
                        Expert(
                            stored[f"{key}/mean"].astype(float),
                            stored[f"{key}/scale"].astype(float),
                            tuple(stored[f"{key}/{place}"].astype(np.float32) for place in range(6)),
                        )
                        for key in keys
                    )
            return cls(experts, meta)
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"holds no trained tilecast ({error})"
            raise InputError(folder, problem, "train it: `tilecast train`") from None

    def arrays(self) -> dict[str, Array]:
        """All experts as named arrays in half precision, to be stored."""
        return {
            f"{device}/{family}/{seed}/{name}": np.ascontiguousarray(array, dtype=np.float16)
            if name.isdigit()
            else np.ascontiguousarray(array, dtype=np.float32)
            for device, families in self.experts.items()
            for family, members in families.items()
            for seed, member in enumerate(members)
            for name, array in member.arrays().items()
        }

    def seen(self, device: Device) -> bool:
        """Whether this very GPU was trained on: the name, and the rates that go with it."""
        known = self.meta["devices"].get(device.name)
        if known is None:
            return False
        pairs = (
            (known["bandwidth_bytes_per_s"], device.bandwidth_bytes_per_s),
            (known["peak_flops_per_s"], device.peak_flops_per_s("fp32", matrix=True)),
        )
        return all(abs(a / b - 1) < 0.05 for a, b in pairs)

    def weights(self, device: Device, family: str, dtype: str = "fp32") -> tuple[Rates, dict[str, float]]:
        """The rates to compute a device's physics with, and the experts of a family to ask."""
        if dtype == "fp32" and self.seen(device) and family in self.experts[device.name]:
            return self.donors[device.name], {device.name: 1.0}
        able = {name: donor for name, donor in self.donors.items() if family in self.experts[name]}
        return rates(device, dtype), donor_weights(
            rates(device), able, family in MATRIX_FAMILIES, self.meta["decay"]
        )

    def half_width(self, device: Device, family: str, seen: bool) -> float:
        """Half-width of the 80 % interval in log ratio; a family never measured gets the widest of all.

        A GPU nobody measured gets what leaving out each training GPU showed, weighted by likeness to it.
        """
        widths = self.meta["half_width"]["seen" if seen else "unseen"]
        if family not in widths:
            return max([self.half_width(device, known, seen) for known in widths], default=1.0)
        if seen:
            return float(widths[family].get(device.name, max(widths[family].values())))
        folds = {name: self.donors[name] for name in widths[family]}
        weights = donor_weights(rates(device), folds, family in MATRIX_FAMILIES, self.meta["decay"])
        return float(sum(weight * widths[family][name] for name, weight in weights.items()))

    def issue_ms(self, ops: Array, phase: str, quantile: float = 0.5) -> Array:
        """Milliseconds that a host takes for an eager kernel of each operation, as the training GPUs' hosts did.

        Which of these GPUs a host carries says nothing of its processor, so any GPU's host is one of them. Python
        runs in the forward pass alone: elsewhere every kernel takes the least of all operations.
        """
        if quantile not in self._launches:
            hosts = self.meta["launch_ms"].values()
            self._launches[quantile] = {
                op: float(np.quantile([host.get(op, host["add"]) for host in hosts], quantile))
                for op in set().union(*hosts)
            }
        known = self._launches[quantile]
        if phase != "forward":
            return np.full(len(ops), min(known.values()))
        return np.array([known.get(op, known["add"]) for op in ops.tolist()])

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latency, 80 % interval, bound and passport of each kernel; never below the device's roofline."""
        import pandas as pd

        if len(kernels) <= BLOCK:
            return self._predict(kernels, device)
        starts = range(0, len(kernels), BLOCK)
        return pd.concat([self._predict(kernels.iloc[start : start + BLOCK], device) for start in starts])

    def _predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        import pandas as pd

        frame = kernels if set(KERNEL_COLUMNS) <= set(kernels.columns) else complete(kernels)
        columns = {name: frame[name].to_numpy(dtype=float) for name in "bmnk"}
        columns["flops"] = frame["flops"].to_numpy(dtype=float)
        columns["moved"] = frame["bytes_read"].to_numpy(dtype=float) + frame["bytes_written"].to_numpy(dtype=float)
        family, dtype, op = (frame[name].astype("category") for name in ("family", "dtype", "op"))
        ops = np.array([OPS.index(name) if name in OPS else 0 for name in op.cat.categories], dtype=int)
        columns["op"] = ops[op.cat.codes.to_numpy()]
        isolated = "isolated" in frame
        if isolated:
            columns["isolated"] = frame["isolated"].to_numpy(dtype=bool)
            columns["launch"] = np.zeros(len(frame))
        latency, width, floor = (np.zeros(len(frame)) for _ in range(3))
        bound = np.full(len(frame), 1, dtype=np.int8)
        code = family.cat.codes.to_numpy().astype(int) * len(dtype.cat.categories) + dtype.cat.codes.to_numpy()
        for group in np.unique(code):
            kind = family.cat.categories[group // len(dtype.cat.categories)]
            number = dtype.cat.categories[group % len(dtype.cat.categories)]
            cast = _Cast(self, device, kind, number)
            rows = np.flatnonzero(code == group)
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                values = {name: column[part] for name, column in columns.items()}
                latency[part], width[part], floor[part], bound[part] = cast(values, op, part, isolated)
        low, high = interval.interval(latency, width, floor)
        names = np.array(["compute", "bandwidth", "latency", "wave tail"], dtype=object)
        learned = np.isin(family.cat.categories, LEARNED)[family.cat.codes.to_numpy()]
        covered = learned & (dtype == "fp32").to_numpy() & (device.vendor == "NVIDIA")
        passport = np.where(covered, "predicted", "extrapolated").astype(object)
        table = {"latency_ms": latency, "low_ms": low, "high_ms": high, "bound": names[bound]}
        whole = pd.DataFrame(table | {"passport": passport}, index=kernels.index)
        return whole if set(dtype.cat.categories) <= {"fp32", "tf32"} else self._in_half(whole, frame, device)

    def _in_half(self, whole: pd.DataFrame, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """The same with what the half-precision track covers forecast by its experts."""
        from tilecast.predict.half_precision import half_precision, shipped

        track = shipped()
        if track is not None:
            index = whole.index
            known = half_precision(kernels.reset_index(drop=True), device, track)
            whole = whole.reset_index(drop=True)
            for name in known.columns:
                whole.loc[known.index, name] = known[name]
            whole.index = index
        return whole


class _Cast:
    """Forecasts of one family in one number format on one device."""

    def __init__(self, model: Tilecast, device: Device, family: str, dtype: str) -> None:
        self.model, self.device, self.family = model, device, family
        self.on, self.weights = model.weights(device, family, dtype)
        self.size = float(ELEMENT_BYTES[dtype])
        seen = model.seen(device) and dtype == "fp32"
        self.width = model.half_width(device, family, seen)
        short = self.on.flops_per_s < SHORT_OF_POWER * self.on.peak_flops_per_s
        self.relief = SHARED_POWER if seen and short and family in MATRIX_FAMILIES else 1.0
        matrix = family in ("linear", "bmm", "attention", "conv")
        self.peak = device.peak_flops_per_s(dtype, matrix=matrix)

    def __call__(self, v: dict[str, Array], op: Any, rows: Array, isolated: bool) -> tuple[Array, ...]:
        compute, memory = 1e3 * v["flops"] / self.peak, 1e3 * v["moved"] / self.on.bandwidth_bytes_per_s
        floor = np.maximum(compute, memory if self.family in MATRIX_FAMILIES else 0.0)
        bound = np.where(compute > memory, 0, 1)
        streamed = busy = memory / STREAM_SHARE + compute / WORK_SHARE
        if self.weights:
            if self.family in MATRIX_FAMILIES:
                features, base = matrix_features(self.family, v, self.on, self.size)
                first = 4 if self.family == "bmm" else 3
                waste = features[:, first : first + 3].min(axis=1)  # of the three largest tiles
                bound = np.where((bound == 0) & (waste > 0.5), 3, bound)
            else:
                features, base = vector_features(self.family, v, v["moved"], v["op"], self.on)
            correction, features = np.zeros(len(base)), features.astype(float)  # once for all experts
            for name, weight in self.weights.items():
                members = self.model.experts[name][self.family]
                members = members[:1] if len(self.weights) > 1 else members  # donors average each other
                for member in members:
                    correction += weight / len(members) * member.correction(features)
            busy = base * np.exp(np.clip(correction, -3, 5))
            if self.family in MATRIX_FAMILIES:  # matrix-vector kernels: none was measured
                busy = np.where(np.minimum(v["m"], v["n"]) <= VECTORS, streamed, busy)
        bound = np.where(busy < SHORTEST_MS, 2, bound)
        busy = np.maximum(np.maximum(busy, floor), SHORTEST_MS)
        latency = np.maximum(np.maximum(busy * self.relief, floor), SHORTEST_MS) + GAP_MS
        if isolated:
            latency = np.where(v["isolated"], busy + self._launch(op, rows), latency)
        return latency, np.full(len(busy), self.width), floor, bound

    def _launch(self, op: Any, rows: Array) -> Array:
        """Milliseconds a harness that times one kernel waits for its launch, as measured on the same hosts."""
        by_op = []
        for name in op.cat.categories:
            known = [
                (weight, self.model.meta["launch_ms"][donor].get(name, self.model.meta["launch_ms"][donor]["add"]))
                for donor, weight in self.weights.items()
            ]
            by_op.append(sum(weight * value for weight, value in known) if known else GAP_MS)
        return np.array(by_op)[op.cat.codes.to_numpy()[rows]]
