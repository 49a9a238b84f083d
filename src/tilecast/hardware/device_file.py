"""Device files as checked models: ours in YAML, the artifact's in JSON, and the description of a measured device.

A YAML file gives every value either bare or as `{value: 132, source: datasheet}`; `sources` maps the short names
of documents to their titles.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from tilecast.base.documents import read_json, read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Count, Number, Positive, Section, validated, within
from tilecast.base.names import find, remedy
from tilecast.base.paths import DEVICES
from tilecast.hardware.device import AMD_LANES, Device, Dtype, Link

_SHARES = {  # least and most of a rate over lanes x 2 x clock
    ("vector", "fp32"): (0.3, 3.0),  # some makers quote the base clock, some the boost clock
    ("vector", ""): (1 / 128, 8.0),  # P4: fp16 at 1/64
    ("matrix", ""): (1 / 16, 300.0),  # GB300: fp4 at 200
}
_MEANT = {"A100": "A100-SXM-80GB", "RTX A6000": "A6000"}  # a family's name -> the one of it most in use
_BYTES_PER_FLOP = (0.002, 1.0)  # bandwidth against fp32 peak (L4: 0.01, P100: 0.08)


def _has_fp32(rates: dict[Dtype, float]) -> dict[Dtype, float]:
    if "fp32" not in rates:
        raise ValueError("has no fp32; every forecast is scaled from the fp32 rate")
    return rates


_VectorRates = Annotated[dict[Dtype, Positive], AfterValidator(_has_fp32)]


class _Link(Section):
    kind: str
    count: Count = 1
    bytes_per_s: Positive
    source: str = ""


class _File(Section):
    """A device file with bare values; the ranges are what any GPU of the years 2010 to 2035 can plausibly be."""

    sources: dict[str, str]
    name: str
    short: str = ""
    title: str
    vendor: Literal["NVIDIA", "AMD"] = "NVIDIA"
    sm_count: Annotated[int, within(1, 10_000, "multiprocessors")]
    cores_per_sm: Annotated[int, within(1, 1024, "fp32 lanes per multiprocessor")]
    clock_hz: Annotated[Number, within(1e8, 1e10, "Hz")]
    memory_bytes: Annotated[Number, within(1e8, 1e13, "bytes")]
    bandwidth_bytes_per_s: Annotated[Number, within(1e10, 1e14, "bytes per second")]
    l2_bytes: Annotated[Number, within(1e5, 1e10, "bytes")]
    vector_flops_per_s: _VectorRates
    matrix_flops_per_s: dict[Dtype, Positive] = Field(default_factory=dict)
    power_w: Annotated[Number, within(5, 5000, "watts")] | None = None
    links: list[_Link] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> _File:
        """Refuse a rate that the lanes and the clock, or the bandwidth, cannot belong to: a wrong unit."""
        lanes = self.sm_count * self.cores_per_sm * 2 * self.clock_hz
        rates = [("vector", *rate) for rate in self.vector_flops_per_s.items()]
        for units, dtype, rate in rates + [("matrix", *rate) for rate in self.matrix_flops_per_s.items()]:
            low, high = _SHARES.get((units, dtype), _SHARES[units, ""])
            if not low <= rate / lanes <= high:
                raise ValueError(
                    f"`{units}_flops_per_s.{dtype}` = {rate:.3g} does not fit {self.sm_count} x "
                    f"{self.cores_per_sm} lanes x 2 x {self.clock_hz:.3g} Hz = {lanes:.3g}; "
                    "is it in FLOP/s, the clock in Hz?"
                )
        share = self.bandwidth_bytes_per_s / self.vector_flops_per_s["fp32"]
        if not _BYTES_PER_FLOP[0] <= share <= _BYTES_PER_FLOP[1]:
            raise ValueError(
                f"`bandwidth_bytes_per_s` = {self.bandwidth_bytes_per_s:.3g} gives {share:.2g} bytes per fp32 "
                f"FLOP; expected {_BYTES_PER_FLOP[0]} to {_BYTES_PER_FLOP[1]}; is it in bytes/s?"
            )
        return self


def load_device(path_or_name: str | Path) -> Device:
    """The device of a YAML or artifact JSON file, or of data/devices by name or short name."""
    text = str(path_or_name)
    if text.lower().endswith((".yaml", ".yml", ".json")):
        return _read(Path(text))
    if (shipped := shipped_device(text)) is not None:
        return shipped
    names = [short for _, short in shipped_names()]
    raise InputError(
        text, "is not a known device", remedy(text, names, f"give a file, or one of {', '.join(sorted(names))}")
    )


@lru_cache(maxsize=1)
def shipped_names() -> dict[tuple[str, str], Path]:
    """The files of data/devices by the device's name and short name, which are the first two lines of each."""
    found = {}
    for path in sorted(DEVICES.glob("*.yaml")):
        name, short = path.read_text(encoding="utf-8").splitlines()[:2]
        found[name.removeprefix("name: "), short.removeprefix("short: ")] = path
    return found


def shipped_device(name: str) -> Device | None:
    """The device of data/devices with this name or short name, in any case; None where there is none."""
    known = shipped_names()
    found = find(name, [each for names in known for each in names], _MEANT)
    return next((_shipped(path) for names, path in known.items() if found in names), None)


def devices(folder: Path = DEVICES) -> dict[str, Device]:
    """Every device of a folder of YAML files, by name."""
    read = _shipped if folder == DEVICES else _read
    return {device.name: device for device in map(read, sorted(folder.glob("*.yaml")))}


@lru_cache
def _shipped(path: Path) -> Device:
    """A device of data/devices, read once."""
    return _read(path)


def _read(path: Path) -> Device:
    """The device of a file in either format, checked."""
    read = read_json if path.suffix.lower() == ".json" else read_yaml
    raw = read(path, "name a device file, or a device of data/devices")
    if isinstance(raw, dict):
        raw = _from_artifact(raw, path) if "Num_Sm" in raw else _bare(raw, path.stem)
    file = dict(validated(_File, raw, path, "docs/understand/predictors.md shows a whole device file"))
    links = tuple(Link(**dict(link)) for link in file["links"])
    return Device(**file | {"links": links, "notes": tuple(file["notes"])})


def _bare(raw: dict[Any, Any], stem: str) -> dict[Any, Any]:
    """A device file with bare values, and under `sources` which document each of them is from."""
    documents, links, sources = raw.get("sources") or {}, raw.get("links") or [], {}

    def titled(given: dict[Any, Any]) -> Any:
        name = given.get("source", "")
        return documents.get(name, name) if isinstance(documents, dict) and isinstance(name, str) else name

    def bare(key: str, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if key.endswith("flops_per_s"):
            return {dtype: bare(f"{key}.{dtype}", rate) for dtype, rate in given.items()}
        if "value" not in given or not set(given) <= {"value", "source"}:
            return given
        sources[key] = titled(given)
        return given["value"]

    if isinstance(links, list):
        links = [link | {"source": titled(link)} if isinstance(link, dict) else link for link in links]
    name = raw.get("name", stem)
    values = {key: bare(key, given) for key, given in raw.items() if isinstance(key, str)}
    found = sources if isinstance(documents, dict) else documents
    return raw | {"name": name, "title": raw.get("title", name)} | values | {"sources": found, "links": links}


class _ArtifactFile(Section):
    """The keys of the artifact's device files that are read."""

    model_config = ConfigDict(extra="ignore")
    Device: str | None = None
    Num_Sm: Count
    Core_Per_SM: Count
    Freq: Positive
    Mem_Bw: Positive
    Dev_Mem: Positive
    L2Cache: Positive
    SingleFLOPs: Positive | None = None
    SingleFLOPsVEC: Positive | None = None
    SingleFLOPsMM: Positive | None = None


def _from_artifact(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """The artifact's format: memory in GiB, L2 in MiB, bandwidth in GB/s, clock in MHz, rates in GFLOP/s.

    Its readme says the clock is in GHz, its files hold MHz: a clock below 20 is taken as GHz, from 20 on as MHz.
    AMD's `Core_Per_SM` counts SIMD units of 16 lanes each. One file gives a sparse fp8 tensor-core rate as
    `SingleFLOPs`; a rate 4 to 100 times what the lanes can do is not their rate, so lanes x 2 x clock is used.
    """
    given = validated(_ArtifactFile, raw, path, "an artifact's device file has it")
    key = "SingleFLOPs" if given.SingleFLOPsVEC is None else "SingleFLOPsVEC"
    stated = getattr(given, key)
    if stated is None:
        raise InputError(path, f"`{key}` is missing", "an artifact's device file has it")
    title = given.Device or path.stem
    vendor = "AMD" if "AMD" in title.upper() else "NVIDIA"
    clock_hz = given.Freq * (1e9 if given.Freq < 20 else 1e6)
    cores = given.Core_Per_SM * (AMD_LANES if vendor == "AMD" else 1)
    lanes = given.Num_Sm * cores * 2 * clock_hz
    peak, notes = stated * 1e9, []
    if 4 <= peak / lanes <= 100:
        notes = [f"{key} {stated:g} is not a rate of the lanes: {lanes / 1e9:.0f} GFLOP/s used instead"]
        peak = lanes
    return {
        "name": path.stem,
        "title": title,
        "vendor": vendor,
        "sm_count": given.Num_Sm,
        "cores_per_sm": cores,
        "clock_hz": clock_hz,
        "vector_flops_per_s": {"fp32": peak},
        "matrix_flops_per_s": {} if given.SingleFLOPsMM is None else {"fp32": given.SingleFLOPsMM * 1e9},
        "memory_bytes": given.Dev_Mem * 2**30,
        "bandwidth_bytes_per_s": given.Mem_Bw * 1e9,
        "l2_bytes": given.L2Cache * 2**20,
        "sources": {"*": path.name},
        "notes": notes,
    }


class _Description(Section):
    """What `tilecast measure device` wrote of a device that data/devices does not have."""

    model_config = ConfigDict(extra="ignore")
    name: str
    title: str
    vendor: str
    sm_count: Count
    cores_per_sm: Count
    clock_hz: Positive
    vector_flops_per_s: _VectorRates
    memory_bytes: Positive
    bandwidth_bytes_per_s: Positive
    l2_bytes: Positive
    matrix_flops_per_s: dict[Dtype, Positive]
    basis: dict[str, str] = Field(default_factory=dict)


def from_description(description: dict[str, Any], where: object) -> Device:
    """The device that a description gives figures of."""
    keys = "describe the device again (tilecast measure device)"
    given = dict(validated(_Description, description, where, keys))
    return Device(sources=given.pop("basis"), **given)
