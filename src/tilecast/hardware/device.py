"""A GPU as its makers specify it, in SI units.

Free of pydantic, as measuring on a borrowed host is; `device_file` reads devices from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.paths import DEVICES

Dtype = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]
DTYPES: tuple[str, ...] = get_args(Dtype)
# fp4 is a rate only: its elements are stored with scales, by the rules of the format (nvfp4, mxfp4)
ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}
AMD_LANES = 16  # the artifact counts an AMD compute unit's SIMD units, of 16 lanes each


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

    def check_format(self, dtype: str) -> None:
        """Refuse a number format that the device states no rate in; tf32 is fp32 where no unit rounds it."""
        known = ("fp32", *self.vector_flops_per_s, *self.matrix_flops_per_s)
        if dtype not in (*known, "tf32"):
            formats = ", ".join(name for name in ELEMENT_BYTES if name in known)
            raise InputError(self.title or self.name, f"computes nothing in {dtype}", f"it computes in {formats}")


def usual_format(device: Device) -> str:
    """The widest used format of today that a GPU is made for: bf16, else fp16, else fp32."""
    plain = device.peak_flops_per_s("fp32", matrix=True)
    rates = {**device.vector_flops_per_s, **device.matrix_flops_per_s}
    return next((name for name in ("bf16", "fp16") if rates.get(name, 0.0) > plain), "fp32")


def device_names() -> list[str]:
    """Names of the devices of data/devices."""
    return [str(read_yaml(path)["name"]) for path in sorted(DEVICES.glob("*.yaml"))]


def devices_of_table(table: Any) -> dict[str, Device]:
    """The devices as the artifact describes them: one a row of the `devices` table, errors and all."""
    return {
        row["device"]: Device(
            name=row["device"],
            title=row["name"],
            vendor=row["vendor"],
            sm_count=int(row["sm_count"]),
            cores_per_sm=int(row["cores_per_sm"]) * (AMD_LANES if row["vendor"] == "AMD" else 1),
            vector_flops_per_s={"fp32": float(row["fp32_flops_per_s"])},
            matrix_flops_per_s={"fp32": float(row["fp32_matrix_flops_per_s"])},
            sources={"*": str(row["source"])},
            clock_hz=float(row["clock_hz"]),
            memory_bytes=float(row["memory_bytes"]),
            bandwidth_bytes_per_s=float(row["bandwidth_bytes_per_s"]),
            l2_bytes=float(row["l2_bytes"]),
        )
        for row in table.to_dict("records")
    }


def row_of_table(device: Device, source: str) -> dict[str, Any]:
    """A device as a row of the `devices` table: what `devices_of_table` reads back."""
    fp32 = device.peak_flops_per_s("fp32", False)
    return {
        "device": device.name,
        "name": device.title,
        "vendor": device.vendor,
        "memory_bytes": device.memory_bytes,
        "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s,
        "sm_count": device.sm_count,
        "cores_per_sm": device.cores_per_sm // (AMD_LANES if device.vendor == "AMD" else 1),
        "clock_hz": device.clock_hz,
        "fp32_flops_per_s": fp32,
        "fp32_matrix_flops_per_s": device.matrix_flops_per_s.get("fp32", fp32),
        "l2_bytes": device.l2_bytes,
        "training_gpu": False,
        "source": source,
    }
