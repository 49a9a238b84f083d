"""Clock, power and temperature of an NVIDIA GPU from the driver's own library, without a Python package."""

from __future__ import annotations

import ctypes
from typing import Any

_GRAPHICS, _MEMORY, _CORE = 0, 2, 0  # NVML's numbers for two clocks and for the core's sensor


class Nvml:
    """A GPU as the driver sees it; where there is no driver, every answer is None and `why` says so."""

    def __init__(self, library: Any, handle: Any, why: str = "") -> None:
        self._library, self._handle, self.why = library, handle, why

    @classmethod
    def open(cls, uuid: str = "") -> Nvml:
        """The GPU of that id (as torch gives it), or the first."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return cls(None, None, "libnvidia-ml.so.1 is not installed")
        handle = ctypes.c_void_p()
        if code := library.nvmlInit_v2():
            return cls(None, None, f"NVML does not start (code {code})")
        named = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
        if library.nvmlDeviceGetHandleByUUID(named.encode(), ctypes.byref(handle)) and (
            code := library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle))
        ):
            return cls(None, None, f"NVML shows no GPU (code {code})")
        return cls(library, handle)

    @property
    def works(self) -> bool:
        """Whether there is a driver to ask."""
        return self._library is not None

    @property
    def driver(self) -> str | None:
        """Version of the driver."""
        if not self.works:
            return None
        text = ctypes.create_string_buffer(80)
        return None if self._library.nvmlSystemGetDriverVersion(text, 80) else text.value.decode()

    def _ask(self, function: str, *arguments: int) -> int | None:
        value = ctypes.c_uint()
        if not self.works or getattr(self._library, function)(self._handle, *arguments, ctypes.byref(value)):
            return None
        return int(value.value)

    def state(self) -> dict[str, float | None]:
        """clock_hz, power_w and temperature_c now."""
        clock, power = self._ask("nvmlDeviceGetClockInfo", _GRAPHICS), self._ask("nvmlDeviceGetPowerUsage")
        temperature = self._ask("nvmlDeviceGetTemperature", _CORE)
        return {
            "clock_hz": None if clock is None else clock * 1e6,
            "power_w": None if power is None else power / 1e3,
            "temperature_c": None if temperature is None else float(temperature),
        }

    def limits(self) -> dict[str, float | None]:
        """Highest clocks, and the power the board is granted."""
        graphics = self._ask("nvmlDeviceGetMaxClockInfo", _GRAPHICS)
        memory = self._ask("nvmlDeviceGetMaxClockInfo", _MEMORY)
        power = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        return {
            "clock_hz": None if graphics is None else graphics * 1e6,
            "memory_clock_hz": None if memory is None else memory * 1e6,
            "power_w": None if power is None else power / 1e3,
        }
