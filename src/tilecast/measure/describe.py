"""Describe the machine at hand as a device to forecast for, before anything is measured on it.

A GPU that data/devices knows is described there. Any other is described by what its driver says and, where that
leaves a rate open, by a few micro-measurements; so is a CPU. `basis` says of each value where it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.limits import check
from tilecast.hardware.device import Device, device_names

if TYPE_CHECKING:
    from tilecast.measure.backend import Backend

DESCRIPTION = "description.json"  # its file in the folder of a device's measurements
PRODUCT = 1024  # edge of the matrix product whose rate is taken
COPIED_BYTES = 128 << 20
LANES = 32  # ASSUME: single-precision lanes of a CPU core: two vector units of 512 bits
GPU_LANES = {6: 64, 7: 64, 8: 128, 9: 128, 10: 128, 12: 128}  # fp32 lanes a multiprocessor, by compute capability
LANES_EXCEPT = {(6, 1): 128, (8, 0): 64}


def open_backend(device: str, threads: int = 1) -> Backend:
    """`cpu`, `cuda`, or with `auto` the GPU where there is one."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError("device", f"{device!r} is not known", "expected auto, cpu or cuda")
    check("threads", threads, "threads", least=1)
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        from tilecast.measure.cuda import Cuda

        return Cuda()
    from tilecast.measure.cpu import Cpu

    return Cpu(threads)


def describe(backend: Backend) -> dict[str, Any]:
    """The device's description: plain values in SI units."""
    about: dict[str, Any] = {"name": backend.name, "title": backend.title, "kind": backend.kind}
    if backend.name in device_names():
        return about | {"known": backend.name, "basis": {"*": "data/devices"}}
    product = f"measured: matrix product of {PRODUCT} x {PRODUCT} x {PRODUCT}"
    copy = f"measured: copy of {COPIED_BYTES >> 20} MiB, read and written"
    rate = {dtype: _product_rate(backend, dtype) for dtype in backend.dtypes}
    room = "what the system says is free, half of it" if backend.kind == "cpu" else "driver"
    found: dict[str, tuple[Any, str]] = {  # value, and where it is from
        "memory_bytes": (backend.memory_bytes, room),
        "bandwidth_bytes_per_s": (_copy_rate(backend), copy),
    }
    facts = backend.facts()
    if backend.kind == "cpu":
        cores = int(facts["threads"])
        clock = rate["fp32"] / (2 * LANES * cores)
        found |= {
            "sm_count": (cores, "threads used"),
            "cores_per_sm": (LANES, "assumed: two vector units of 512 bits"),
            "clock_hz": (clock, "so that lanes x 2 x clock is the measured rate"),
            "vector_flops_per_s": ({"fp32": rate["fp32"]}, product),
            "matrix_flops_per_s": (rate, product),
            "l2_bytes": (float(facts["cache_bytes"]), "last-level cache"),
        }
    else:
        driver = backend.properties  # type: ignore[attr-defined]
        capability, units = (int(driver.major), int(driver.minor)), int(driver.multi_processor_count)
        lanes = LANES_EXCEPT.get(capability, GPU_LANES.get(capability[0], 128))
        clock = facts["limits"]["clock_hz"] or rate["fp32"] / (2 * lanes * units)
        peak = 2.0 * lanes * units * clock
        found |= {
            "sm_count": (units, "driver"),
            "cores_per_sm": (lanes, "compute capability"),
            "clock_hz": (clock, "driver: highest clock"),
            "vector_flops_per_s": ({"fp32": peak}, "lanes x 2 x clock"),
            "matrix_flops_per_s": ({dtype: value for dtype, value in rate.items() if value > peak}, product),
            "l2_bytes": (float(getattr(driver, "L2_cache_size", 0) or 4 << 20), "driver"),
        }
    about["vendor"] = "CPU" if backend.kind == "cpu" else "NVIDIA"
    values = {key: value for key, (value, _) in found.items()}
    return about | values | {"basis": {key: basis for key, (_, basis) in found.items()}}


def device_of(description: dict[str, Any], where: object = "description") -> Device:
    """The description as forecasts take it."""
    from tilecast.hardware.device_file import from_description, shipped_device

    if "known" not in description:
        return from_description(description, where)
    found = shipped_device(str(description["known"]))
    if found is None:
        raise InputError(where, f"{description['known']!r} is not in data/devices", "describe the device again")
    return found


def read_description(path: Path) -> dict[str, Any]:
    """A description as `write_description` left it."""
    found = read_json(path, "make it with `tilecast measure device`")
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise InputError(path, "is not the description of a device", "describe the device again")
    return found


def described(path_or_name: str) -> Device:
    """The device of a `description.json`, or else of whatever `load_device` takes."""
    from tilecast.hardware.device_file import load_device

    path = Path(path_or_name)
    return device_of(read_description(path), path) if path.name == DESCRIPTION else load_device(path_or_name)


def write_description(description: dict[str, Any], path: Path) -> None:
    """Write it as JSON."""
    write_text(path, json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def _fastest_s(backend: Backend, action: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs: what the device can do, not what it mostly does."""
    backend.time(action, 2, flush=False)
    return min(backend.time(action, 5, flush=False)) / 1e3


def _product_rate(backend: Backend, dtype: str) -> float:
    from tilecast.measure.kernels import action

    row = {"family": "bmm", "op": "bmm", "dtype": dtype, "b": 1, "shape": ""} | dict.fromkeys("mnk", PRODUCT)
    backend.precision(dtype)
    return 2.0 * PRODUCT**3 / _fastest_s(backend, action(row, backend.place))


def _copy_rate(backend: Backend) -> float:
    import torch

    source = torch.ones(COPIED_BYTES // 4, dtype=torch.float32, device=backend.place)
    target = torch.empty_like(source)
    return 2.0 * COPIED_BYTES / _fastest_s(backend, lambda: target.copy_(source))
