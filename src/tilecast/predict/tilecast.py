"""`tilecast`, this project's own predictor: physics first, a small learned correction, experts a GPU.

Every training GPU has an expert a kernel family: a network that corrects the physical base time from dimensionless
features (`physics.single`). A GPU an expert was trained on is forecast by that expert. Any other is forecast by
the experts of the GPUs most like it, each given the new GPU's own physics, and averaged geometrically with weights
that fall with the distance between the two.

A kernel measured on its own costs the launch its harness waits for besides (`isolated` column true); within a
running model launches overlap with the kernel before, and a short gap remains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.predict import dominance, interval
from tilecast.predict.columns import Columns
from tilecast.predict.experts import Expert, chip_weights, load_trained, same_rates
from tilecast.predict.half_precision import half_precision
from tilecast.predict.kernel import (
    BOUNDS,
    KERNEL_COLUMNS,
    MATRIX_FAMILIES,
    MEASURED_FAMILIES,
    PRODUCT_FAMILIES,
    complete,
)
from tilecast.predict.physics.chip import Chip, single_chip
from tilecast.predict.physics.single import OPS, matrix_features, vector_features

if TYPE_CHECKING:
    import pandas as pd

CHUNK, BLOCK = 1 << 13, 1 << 19  # kernels worked on (in the cache), and columns copied (in memory), at a time
# ASSUME: kernels of a running model are launched ahead of time and follow each other after a short gap; what a
# slow host adds is a matter of the whole pass (`issue_ms`). The least time measured of an isolated kernel is its
# launch and this: the shortest time any kernel keeps a GPU busy, however little it does.
GAP_MS, SHORTEST_MS = 0.002, 0.008
# ASSUME: share of peak bandwidth and FLOP/s where no kernel of that kind was measured (copies, attention, ...)
STREAM_SHARE, WORK_SHARE = 0.85, 0.6
VECTORS = 2  # matrix products with at most so many rows or columns are matrix-vector ones
# Fewer rows than were timed: a product then takes as long as one of so many, tiles are as large.
FEWEST_ROWS = {"linear": 3, "bmm": 16}
# ASSUME: a board short of power lends a model's matrix products what its memory-bound kernels leave: a quarter of
# the time at 60 % of the power. A kernel timed on its own, run after run, has no such share.
SHORT_OF_POWER, SHARED_POWER = 0.9, 1 / (1 + 0.25 * (1 - 0.6) / 0.75)
DECAY = 0.7  # distance over which a GPU's weight as a donor falls to 1/e; chosen leaving one GPU out
_KINDS, _SIZES = ("family", "dtype", "op"), (*"bmnk", "flops", "bytes_read", "bytes_written")
# A forecast's columns of words, which are places in these until they are asked for.
_WORDS = {"bound": BOUNDS, "passport": np.array(["extrapolated", "predicted"], dtype=object)}


class Words(NamedTuple):
    """A column of few distinct words: these, and the place of each row's among them."""

    names: list[str]
    places: Array

    @classmethod
    def of(cls, values: Array) -> Words:
        """A column's."""
        names: dict[str, int] = {}
        places = [names.setdefault(value, len(names)) for value in values.tolist()]
        return cls(list(names), np.array(places, dtype=int))

    @classmethod
    def of_series(cls, values: pd.Series) -> Words:
        """The same of a table's column."""
        found = values.astype("category").cat
        return cls(list(found.categories), found.codes.to_numpy().astype(int))

    def each(self, of_name: Iterable[int | bool], kind: type) -> Array:
        """For each row what is said of its word."""
        return np.array(list(of_name), dtype=kind)[self.places]

    @property
    def single(self) -> bool:
        """Of number formats: whether all are those of single precision."""
        return set(self.names) <= {"fp32", "tf32"}


class Tilecast:
    """The trained predictor. `experts[device][family]`; `meta` is its training record."""

    name = "tilecast"
    artifact_links = False  # steps on several GPUs: tilecast.multigpu

    def __init__(self, experts: Mapping[str, Mapping[str, tuple[Expert, ...]]], meta: Mapping[str, Any]) -> None:
        self.experts, self.meta = experts, meta
        self._launches: dict[float, dict[str, float]] = {}  # quantile of hosts -> launch of each operation
        self.donors = {name: Chip.of_record(name, record) for name, record in meta["devices"].items()}

    @classmethod
    def load(cls, folder: Path = WEIGHTS / "tilecast") -> Tilecast:
        """Read `experts.safetensors` and `record.json` of a folder of trained weights."""

        def build(meta: Any, stored: dict[str, Array]) -> Tilecast:
            experts = {
                device: {
                    family: tuple(Expert.of(stored, f"{device}/{family}/{n}") for n in range(meta["members"]))
                    for family in meta["families"][device]
                }
                for device in meta["devices"]
            }
            return cls(experts, meta)

        return load_trained(folder, "tilecast", "train it: `tilecast train`", build)

    def arrays(self) -> dict[str, Array]:
        """All experts as named arrays, to be stored."""
        found: dict[str, Array] = {}
        for device, families in self.experts.items():
            for family, members in families.items():
                for seed, member in enumerate(members):
                    found |= member.arrays(f"{device}/{family}/{seed}")
        return found

    def seen(self, device: Device) -> bool:
        """Whether this very GPU was trained on: the name, and the rates that go with it."""
        known = self.donors.get(device.name)
        return known is not None and same_rates(
            (known.bandwidth_bytes_per_s, device.bandwidth_bytes_per_s),
            (known.peak_flops_per_s, device.peak_flops_per_s("fp32", matrix=True)),
        )

    def weights(self, device: Device, family: str, dtype: str = "fp32") -> tuple[Chip, dict[str, float]]:
        """The chip to compute a device's physics with, and the weights of a family's experts."""
        if dtype == "fp32" and self.seen(device) and family in self.experts[device.name]:
            return self.donors[device.name], {device.name: 1.0}
        able = [name for name in self.donors if family in self.experts[name]]
        return single_chip(device, dtype), self._donor_weights(device, family, able)

    def _donor_weights(self, device: Device, family: str, names: Iterable[str]) -> dict[str, float]:
        donors = {name: self.donors[name] for name in names}
        return chip_weights(single_chip(device), donors, family in MATRIX_FAMILIES, self.meta["decay"])

    def half_width(self, device: Device, family: str, seen: bool) -> float:
        """Half-width of the 80 % interval in log ratio; a family never measured gets the widest of all.

        A GPU nobody measured gets what leaving out each training GPU showed, weighted by likeness to it.
        """
        widths = self.meta["half_width"]["seen" if seen else "unseen"]
        if family not in widths:
            return max([self.half_width(device, known, seen) for known in widths], default=1.0)
        if seen:
            return float(widths[family].get(device.name, max(widths[family].values())))
        weights = self._donor_weights(device, family, widths[family])
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

        if len(kernels) > BLOCK:
            starts = range(0, len(kernels), BLOCK)
            return pd.concat([self.predict(kernels.iloc[start : start + BLOCK], device) for start in starts])
        table = kernels if set(KERNEL_COLUMNS) <= set(kernels.columns) else complete(kernels)
        words = {name: Words.of_series(table[name]) for name in _KINDS}
        names = {*_SIZES, "isolated"} if words["dtype"].single else {*KERNEL_COLUMNS, "isolated"}
        columns = {name: table[name].to_numpy() for name in names & set(table.columns)}
        found = self._least(columns, words, device)
        coded = {name: few for name, few in _WORDS.items() if found[name].dtype != object}
        named = {name: pd.Series(few).array.take(found[name]) for name, few in coded.items()}
        return pd.DataFrame(found | named, index=kernels.index)

    def predict_columns(self, kernels: Columns, device: Device) -> Columns:
        """The same of columns."""
        return _named(self._least(kernels, {name: Words.of(kernels[name]) for name in _KINDS}, device))

    def _least(self, kernels: Columns, words: Mapping[str, Words], device: Device) -> Columns:
        forecast = self._predict(kernels, words, device)
        for other in dominance.surpassed(device):
            forecast = dominance.least(forecast, self._predict(kernels, words, other))
        return forecast

    def _predict(self, kernels: Columns, words: Mapping[str, Words], device: Device) -> Columns:
        columns = {name: kernels[name].astype(float) for name in (*"bmnk", "flops")}
        columns["moved"] = kernels["bytes_read"].astype(float) + kernels["bytes_written"].astype(float)
        family, dtype, op = (words[name] for name in _KINDS)
        columns["op"] = op.each((OPS.index(name) if name in OPS else 0 for name in op.names), int)
        isolated = "isolated" in kernels
        if isolated:
            columns["isolated"] = kernels["isolated"].astype(bool)
        count = len(op.places)
        latency, width, floor = (np.zeros(count) for _ in range(3))
        known = np.zeros(count, dtype=bool)
        bound = np.full(count, 1, dtype=np.int8)
        code = family.places * len(dtype.names) + dtype.places
        for group in np.unique(code):
            kind, number = divmod(int(group), len(dtype.names))
            forecast = _FamilyForecast(self, device, family.names[kind], dtype.names[number])
            rows = np.flatnonzero(code == group)
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                values = {name: column[part] for name, column in columns.items()}
                found = forecast(values, op, part, isolated)
                latency[part], width[part], floor[part], bound[part], known[part] = found
        low, high = interval.interval(latency, width, floor)
        measured = family.each((name in MEASURED_FAMILIES for name in family.names), bool)
        covered = known & measured & dtype.each((name == "fp32" for name in dtype.names), bool)
        covered &= device.vendor == "NVIDIA"
        whole = {"latency_ms": latency, "low_ms": low, "high_ms": high, "bound": bound}
        whole["passport"] = covered.astype(np.int8)
        return whole if dtype.single else half_precision(kernels, _named(whole), device)


def _named(found: Columns) -> Columns:
    """A forecast with its words."""
    return found | {name: few[found[name]] for name, few in _WORDS.items() if found[name].dtype != object}


class _FamilyForecast:
    """Forecasts of one family in one number format on one device."""

    def __init__(self, model: Tilecast, device: Device, family: str, dtype: str) -> None:
        self.model, self.device, self.family = model, device, family
        self.on, self.weights = model.weights(device, family, dtype)
        self.size = float(ELEMENT_BYTES[dtype])
        seen = model.seen(device) and dtype == "fp32"
        self.width = model.half_width(device, family, seen)
        self.widest = model.half_width(device, "any other", seen=False)  # of inputs nobody trained on
        short = self.on.sustained_flops_per_s < SHORT_OF_POWER * self.on.peak_flops_per_s
        self.relief = SHARED_POWER if seen and short and family in MATRIX_FAMILIES else 1.0
        self.peak = device.peak_flops_per_s(dtype, matrix=family in PRODUCT_FAMILIES)

    def __call__(self, v: dict[str, Array], op: Words, rows: Array, isolated: bool) -> tuple[Array, ...]:
        compute, memory = 1e3 * v["flops"] / self.peak, 1e3 * v["moved"] / self.on.bandwidth_bytes_per_s
        floor = np.maximum(compute, memory if self.family in MATRIX_FAMILIES else 0.0)
        bound = np.where(compute > memory, 0, 1)
        streamed = busy = memory / STREAM_SHARE + compute / WORK_SHARE
        known = np.ones(len(busy))  # share of the experts asked that were trained on such inputs
        if self.weights:
            if self.family in MATRIX_FAMILIES:
                few = v["m"] < FEWEST_ROWS[self.family]
                held = v | {"m": np.maximum(v["m"], FEWEST_ROWS[self.family])} if few.any() else v
                features, base = matrix_features(self.family, held, self.on, self.size)
                first = 4 if self.family == "bmm" else 3
                waste = features[:, first : first + 3].min(axis=1)  # of the three largest tiles
                bound = np.where((bound == 0) & (waste > 0.5), 3, bound)
            else:
                features, base = vector_features(self.family, v, v["moved"], v["op"], self.on)
            correction, features = np.zeros(len(base)), features.astype(float)  # once for all experts
            for name, weight in self.weights.items():
                members = self.model.experts[name][self.family]
                members = members[:1] if len(self.weights) > 1 else members  # donors average each other
                known -= weight * members[0].unknown(features)
                for member in members:
                    correction += weight / len(members) * member.correction(features)
            busy = base * np.exp(np.clip(correction, -3, 5))
            if self.family in MATRIX_FAMILIES:  # matrix-vector kernels: none was measured
                vector = np.minimum(v["m"], v["n"]) <= VECTORS
                busy, known = np.where(vector, streamed, busy), np.where(vector | few, 0.0, known)
        bound = np.where(busy < SHORTEST_MS, 2, bound)
        busy = np.maximum(np.maximum(busy, floor), SHORTEST_MS)
        latency = np.maximum(np.maximum(busy * self.relief, floor), SHORTEST_MS) + GAP_MS
        if isolated:
            latency = np.where(v["isolated"], busy + self._launch(op, rows), latency)
        return latency, np.where(known > 0.5, self.width, self.widest), floor, bound, known > 0.5

    def _launch(self, op: Words, rows: Array) -> Array:
        """Milliseconds a harness that times one kernel waits for its launch, as measured on the same hosts."""
        hosts = {donor: self.model.meta["launch_ms"][donor] for donor in self.weights}
        by_op = [
            sum(weight * hosts[donor].get(name, hosts[donor]["add"]) for donor, weight in self.weights.items())
            if self.weights
            else GAP_MS
            for name in op.names
        ]
        return np.array(by_op)[op.places[rows]]
