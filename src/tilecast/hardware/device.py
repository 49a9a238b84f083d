"""A GPU as its makers specify it: one checked record in SI units, read from YAML or from the artifact's JSON.

A YAML file gives every value either bare or as `{value: 132, source: datasheet}`; `sources` maps the short names
of documents to their titles. The artifact's JSON files are read as they are (see `_from_artifact`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilecast.base.documents import listed, read_json, read_yaml, shown
from tilecast.base.errors import InputError
from tilecast.base.paths import DEVICES

DTYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4")
# fp4 is a rate only: its elements are stored with scales, by the rules of the format (nvfp4, mxfp4)
ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}

# What any GPU of the years 2010 to 2035 can plausibly be; outside lies a wrong unit.
_RANGES: dict[str, tuple[float, float, str]] = {
    "sm_count": (1, 10_000, "multiprocessors"),
    "cores_per_sm": (1, 1024, "fp32 lanes per multiprocessor"),
    "clock_hz": (1e8, 1e10, "Hz"),
    "memory_bytes": (1e8, 1e13, "bytes"),
    "bandwidth_bytes_per_s": (1e10, 1e14, "bytes per second"),
    "l2_bytes": (1e5, 1e10, "bytes"),
    "power_w": (5, 5000, "watts"),
}
_VECTOR_SHARE = (0.3, 3.0)  # fp32 vector peak against lanes x 2 x clock (some makers quote base, some boost clock)
_OTHER_SHARE = (1 / 128, 8.0)  # other vector rates against lanes x 2 x clock (P4: fp16 at 1/64)
_MATRIX_SHARE = (1 / 16, 300.0)  # matrix-unit rates against lanes x 2 x clock (GB300: fp4 at 200)
_BYTES_PER_FLOP = (0.002, 1.0)  # bandwidth against fp32 peak (L4: 0.01, P100: 0.08)
_AMD_LANES = 16  # the artifact counts an AMD compute unit's SIMD units, of 16 lanes each


@dataclass(frozen=True)
class Link:
    """A way out of the device: what it is, how many there are, and the rate of all of them in one direction."""

    kind: str
    count: int
    bytes_per_s: float
    source: str = ""


@dataclass(frozen=True)
class Device:
    """One GPU's specification; rates are peaks as the maker states them, dense, per second."""

    name: str
    title: str
    vendor: str
    sm_count: int
    cores_per_sm: int
    clock_hz: float
    vector_flops_per_s: Mapping[str, float]  # without matrix units, by number format
    memory_bytes: float
    bandwidth_bytes_per_s: float
    l2_bytes: float
    matrix_flops_per_s: Mapping[str, float] = field(default_factory=dict)  # with matrix units (tensor cores, MFMA)
    power_w: float | None = None
    links: tuple[Link, ...] = ()
    short: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)  # value -> where it comes from
    notes: tuple[str, ...] = ()  # what reading had to decide

    def peak_flops_per_s(self, dtype: str, matrix: bool) -> float:
        """Peak rate of `dtype`: of matrix products where `matrix`, else of the vector lanes.

        A format without a rate of its own runs at fp32's: stored narrow, computed wide.
        """
        if dtype not in DTYPES:
            raise InputError(self.name, f"unknown dtype {dtype!r}", f"expected one of {', '.join(DTYPES)}")
        vector = self.vector_flops_per_s.get(dtype, self.vector_flops_per_s["fp32"])
        if not matrix:
            return vector
        return max(self.matrix_flops_per_s.get(dtype, 0.0), vector)


def load_device(path_or_name: str | Path) -> Device:
    """The device of a YAML or artifact JSON file, or of data/devices by name, short name or file stem."""
    text = str(path_or_name)
    path = Path(text)
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return _read(path)
    known = devices()
    for device in known.values():
        if text in (device.name, device.short):
            return device
    raise InputError(text, "is no known device", f"give a file, or one of {', '.join(sorted(known))}")


def devices(folder: Path = DEVICES) -> dict[str, Device]:
    """Every device of a folder of YAML files, by name."""
    found = (_read(path) for path in sorted(folder.glob("*.yaml")))
    return {device.name: device for device in found}


def devices_of_table(table: Any) -> dict[str, Device]:
    """The devices as the artifact describes them: one a row of the `devices` table, errors and all."""
    result = {}
    for row in table.to_dict("records"):
        result[row["device"]] = Device(
            name=row["device"],
            title=row["name"],
            vendor=row["vendor"],
            sm_count=int(row["sm_count"]),
            cores_per_sm=int(row["cores_per_sm"]) * (_AMD_LANES if row["vendor"] == "AMD" else 1),
            clock_hz=float(row["clock_hz"]),
            vector_flops_per_s={"fp32": float(row["fp32_flops_per_s"])},
            matrix_flops_per_s={"fp32": float(row["fp32_matrix_flops_per_s"])},
            memory_bytes=float(row["memory_bytes"]),
            bandwidth_bytes_per_s=float(row["bandwidth_bytes_per_s"]),
            l2_bytes=float(row["l2_bytes"]),
            sources={"*": str(row["source"])},
        )
    return result


BY_MAKERS_FIGURES = ("tilecast",)  # the artifact's own predictors take its device files, errors included


def specifications(predictor: str, table: Any) -> Mapping[str, Device]:
    """The devices of the artifact's `devices` table with the figures that the named predictor was trained on."""
    stated = devices_of_table(table)
    if predictor not in BY_MAKERS_FIGURES:
        return stated
    made = devices()
    return {name: made.get(name, device) for name, device in stated.items()}


def _read(path: Path) -> Device:
    read = read_json if path.suffix.lower() == ".json" else read_yaml
    raw = read(path, "name a device file, or a device of data/devices")
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise InputError(path, "is no device description", "expected keys such as sm_count and clock_hz")
    return _from_artifact(raw, path) if "Num_Sm" in raw else _from_yaml(raw, path)


def positive(value: Any, key: str, where: object) -> float:
    """A positive number; YAML reads `1.5e9` as text, which is meant as a number all the same."""
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise InputError(where, f"`{key}` = {shown(value)} is not a number above zero", "give it in SI units")
    return number


_SCALARS = ("sm_count", "cores_per_sm", "clock_hz", "memory_bytes", "bandwidth_bytes_per_s", "l2_bytes")
_KEYS = {
    *_SCALARS, "name", "short", "title", "vendor", "power_w", "vector_flops_per_s", "matrix_flops_per_s", "links",
    "sources", "notes",
}  # fmt: skip


def _from_yaml(raw: dict[str, Any], where: Path) -> Device:
    unknown = sorted(set(raw) - _KEYS)
    if unknown:
        raise InputError(where, f"unknown key `{unknown[0]}`", f"a device has {', '.join(sorted(_KEYS))}")
    missing = [key for key in (*_SCALARS, "vector_flops_per_s") if key not in raw]
    if missing:
        raise InputError(
            where, f"`{missing[0]}` is missing", "docs/understand/predictors.md shows a whole device file"
        )
    documents = raw.get("sources") or {}
    if not isinstance(documents, dict):
        raise InputError(where, "`sources` is not a mapping", "map short names of documents to their titles")
    sources: dict[str, str] = {}

    def value(entry: Any, key: str) -> float:
        if isinstance(entry, dict):
            if "value" not in entry or not set(entry) <= {"value", "source"}:
                raise InputError(where, f"`{key}` is not understood", "write {value: NUMBER, source: NAME}")
            name = str(entry.get("source", ""))
            sources[key] = str(documents.get(name, name))
            entry = entry["value"]
        return positive(entry, key, where)

    def rates(key: str) -> dict[str, float]:
        entries = raw.get(key) or {}
        if not isinstance(entries, dict):
            raise InputError(where, f"`{key}` is not a mapping", "give one rate for each number format")
        for dtype in entries:
            if dtype not in DTYPES:
                raise InputError(
                    where, f"`{key}`: unknown dtype {dtype!r}", f"expected one of {', '.join(DTYPES)}"
                )
        return {dtype: value(entry, f"{key}.{dtype}") for dtype, entry in entries.items()}

    def links() -> tuple[Link, ...]:
        found = []
        for entry in listed(raw.get("links"), "links", where):
            if not isinstance(entry, dict) or not {"kind", "bytes_per_s"} <= set(entry):
                raise InputError(where, "`links`: not understood", "each has kind, count, bytes_per_s, source")
            rate = positive(entry["bytes_per_s"], "links.bytes_per_s", where)
            count = int(positive(entry.get("count", 1), "links.count", where))
            source = str(entry.get("source", ""))
            found.append(Link(str(entry["kind"]), count, rate, str(documents.get(source, source))))
        return tuple(found)

    scalars = {key: value(raw[key], key) for key in _SCALARS}
    for key in ("sm_count", "cores_per_sm"):
        if scalars[key] != int(scalars[key]):
            raise InputError(where, f"`{key}` = {scalars[key]} is not a whole number")
    device = Device(
        name=str(raw.get("name", where.stem)),
        short=str(raw.get("short", "")),
        title=str(raw.get("title", raw.get("name", where.stem))),
        vendor=str(raw.get("vendor", "NVIDIA")),
        sm_count=int(scalars["sm_count"]),
        cores_per_sm=int(scalars["cores_per_sm"]),
        clock_hz=scalars["clock_hz"],
        vector_flops_per_s=rates("vector_flops_per_s"),
        matrix_flops_per_s=rates("matrix_flops_per_s"),
        memory_bytes=scalars["memory_bytes"],
        bandwidth_bytes_per_s=scalars["bandwidth_bytes_per_s"],
        l2_bytes=scalars["l2_bytes"],
        power_w=value(raw["power_w"], "power_w") if raw.get("power_w") is not None else None,
        links=links(),
        sources=sources,
        notes=tuple(str(note) for note in raw.get("notes") or ()),
    )
    return checked(device, where)


def _from_artifact(raw: dict[str, Any], where: Path) -> Device:
    """The artifact's format: memory in GiB, L2 in MiB, bandwidth in GB/s, clock in MHz, rates in GFLOP/s.

    Its readme says the clock is in GHz, its files hold MHz: a clock below 20 is taken as GHz, from 20 on as MHz.
    AMD's `Core_Per_SM` counts SIMD units of 16 lanes each. One file gives a sparse fp8 tensor-core rate as
    `SingleFLOPs`; a rate 4 to 100 times what the lanes can do is not their rate, so lanes x 2 x clock is used.
    """
    needed = ("Num_Sm", "Core_Per_SM", "Freq", "Mem_Bw", "Dev_Mem", "L2Cache")
    vector = "SingleFLOPsVEC" if "SingleFLOPsVEC" in raw else "SingleFLOPs"
    missing = [key for key in (*needed, vector) if key not in raw]
    if missing:
        raise InputError(where, f"`{missing[0]}` is missing", "an artifact's device file has it")
    given = {key: positive(raw[key], key, where) for key in (*needed, vector)}
    title = str(raw.get("Device", where.stem))
    vendor = "AMD" if "AMD" in title.upper() else "NVIDIA"
    clock_hz = given["Freq"] * (1e9 if given["Freq"] < 20 else 1e6)
    cores = int(given["Core_Per_SM"]) * (_AMD_LANES if vendor == "AMD" else 1)
    lanes = given["Num_Sm"] * cores * 2 * clock_hz
    peak, notes = given[vector] * 1e9, []
    if 4 <= peak / lanes <= 100:
        notes.append(f"{vector} {given[vector]:g} is no rate of the lanes: {lanes / 1e9:.0f} GFLOP/s used instead")
        peak = lanes
    matrix = (
        {"fp32": positive(raw["SingleFLOPsMM"], "SingleFLOPsMM", where) * 1e9} if "SingleFLOPsMM" in raw else {}
    )
    device = Device(
        name=where.stem,
        title=title,
        vendor=vendor,
        sm_count=int(given["Num_Sm"]),
        cores_per_sm=cores,
        clock_hz=clock_hz,
        vector_flops_per_s={"fp32": peak},
        matrix_flops_per_s=matrix,
        memory_bytes=given["Dev_Mem"] * 2**30,
        bandwidth_bytes_per_s=given["Mem_Bw"] * 1e9,
        l2_bytes=given["L2Cache"] * 2**20,
        sources={"*": where.name},
        notes=tuple(notes),
    )
    return checked(device, where)


def checked(device: Device, where: object) -> Device:
    """`device`, or one line that names the value which cannot be: out of range, or a unit off by a thousand."""
    for key, (low, high, unit) in _RANGES.items():
        value = getattr(device, key)
        if value is not None and not low <= value <= high:
            problem = f"`{key}` = {value:g} lies outside {low:g} to {high:g} {unit}"
            raise InputError(where, problem, "values are in SI units (Hz, bytes, bytes/s, FLOP/s)")
    if device.vendor not in ("NVIDIA", "AMD"):
        raise InputError(where, f"`vendor` = {device.vendor!r} is not known", "expected NVIDIA or AMD")
    if "fp32" not in device.vector_flops_per_s:
        raise InputError(where, "`vector_flops_per_s` has no fp32", "every forecast is scaled from the fp32 rate")
    lanes = device.sm_count * device.cores_per_sm * 2 * device.clock_hz
    for group, rates in (("vector", device.vector_flops_per_s), ("matrix", device.matrix_flops_per_s)):
        for dtype, rate in rates.items():
            low, high = _MATRIX_SHARE if group == "matrix" else _VECTOR_SHARE if dtype == "fp32" else _OTHER_SHARE
            if not low <= rate / lanes <= high:
                problem = (
                    f"`{group}_flops_per_s.{dtype}` = {rate:.3g} does not fit {device.sm_count} x "
                    f"{device.cores_per_sm} lanes x 2 x {device.clock_hz:.3g} Hz = {lanes:.3g}"
                )
                raise InputError(where, problem, "is it in FLOP/s, the clock in Hz?")
    share = device.bandwidth_bytes_per_s / device.vector_flops_per_s["fp32"]
    if not _BYTES_PER_FLOP[0] <= share <= _BYTES_PER_FLOP[1]:
        problem = (
            f"`bandwidth_bytes_per_s` = {device.bandwidth_bytes_per_s:.3g} gives {share:.2g} bytes per fp32 FLOP"
        )
        raise InputError(
            where, problem, f"expected {_BYTES_PER_FLOP[0]} to {_BYTES_PER_FLOP[1]}; is it in bytes/s?"
        )
    return device
