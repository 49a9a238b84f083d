"""Nodes of this host and the node next to each GPU, as the kernel and NVML state them; nothing is assumed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError

_QUERY = ("index", "name", "pci.bus_id", "pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max")
NOT_HERE = "not testable here"
UNKNOWN = -1  # the kernel's own value for a device whose node it does not know


def nvidia_smi() -> str:
    """NVML's description of the GPUs, a line each; empty where there is no driver."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):  # missing, or not text
        return ""


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text.strip()) else None


def _nodes(sys_folder: Path) -> list[dict[str, Any]]:
    found = []
    for folder in (sys_folder / "devices/system/node").glob("node[0-9]*"):
        memory = re.search(r"MemTotal:\s+(\d+) kB", _text(folder / "meminfo"))
        found.append(
            {
                "node": int(folder.name.removeprefix("node")),
                "cpus": _text(folder / "cpulist"),
                "memory_bytes": int(memory[1]) * 1024 if memory else 0,
                "distances": [int(word) for word in _text(folder / "distance").split() if word.isdigit()],
            }
        )
    return sorted(found, key=lambda node: int(node["node"]))


def _gpus(sys_folder: Path, listed: str) -> list[dict[str, Any]]:
    found = []
    for line in filter(None, (line.strip() for line in listed.splitlines())):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != len(_QUERY) or _whole(parts[0]) is None:
            continue
        fields = dict(zip(_QUERY, parts))
        domain, _, rest = fields["pci.bus_id"].lower().partition(":")  # NVML writes 8 digits, the kernel 4
        address = f"{domain[-4:]}:{rest}"
        device = sys_folder / "bus/pci/devices" / address
        node = _whole(_text(device / "numa_node"))
        found.append(
            {
                "gpu": int(parts[0]),
                "name": fields["name"],
                "pci_address": address,
                "node": UNKNOWN if node is None else node,
                "cpus": _text(device / "local_cpulist"),
                "link_generation": _whole(fields["pcie.link.gen.max"]),
                "link_width": _whole(fields["pcie.link.width.current"]),
                "link_width_max": _whole(fields["pcie.link.width.max"]),
                "link_speed": _text(device / "current_link_speed"),
            }
        )
    return sorted(found, key=lambda gpu: int(gpu["gpu"]))


def given_topology(sys_folder: Path) -> dict[str, Any]:
    """The topology of a copy of another host's /sys, beside which `nvidia-smi.csv` holds what NVML said there.

    A study can be driven through it on the CPU device; it tests no locality of this host.
    """
    if not (sys_folder / "devices/system/node").is_dir():
        raise InputError(sys_folder, "holds no devices/system/node", "give a copy of a host's /sys")
    found = read_topology(sys_folder, lambda: _text(sys_folder / "nvidia-smi.csv"))
    verdict = f"{NOT_HERE}: the topology is given, not this host's"
    return found | {"given": True, "testable": False, "verdict": verdict}


def read_topology(sys_folder: Path = Path("/sys"), smi: Callable[[], str] = nvidia_smi) -> dict[str, Any]:
    """Nodes, GPUs, and whether locality can be tested on this host, with the reason where it cannot."""
    nodes, gpus = _nodes(sys_folder), _gpus(sys_folder, smi())
    hosts, reasons = memory_nodes({"nodes": nodes}), []
    if not gpus:
        reasons.append("no GPU")
    if len(hosts) < 2:
        reasons.append("one node" if hosts else "the kernel shows no NUMA node")
    if gpus and all(gpu["node"] == UNKNOWN for gpu in gpus):
        reasons.append("the kernel does not say which node any GPU is next to")
    verdict = f"{NOT_HERE}: {', '.join(reasons)}" if reasons else "testable"
    return {"nodes": nodes, "gpus": gpus, "testable": not reasons, "verdict": verdict}


def memory_nodes(topology: Mapping[str, Any]) -> list[int]:
    """Nodes with memory and CPUs; a GPU's own memory may be a node without CPUs."""
    return [node["node"] for node in topology["nodes"] if node["memory_bytes"] and node["cpus"]]


def local_node(topology: Mapping[str, Any], gpu: int) -> int:
    """The node next to a GPU; -1 where there is no such GPU or the kernel does not know."""
    return next((int(entry["node"]) for entry in topology["gpus"] if entry["gpu"] == gpu), UNKNOWN)


def why_not_run(topology: Mapping[str, Any], gpu: int, nodes: set[int], device: str) -> str:
    """Why a cell cannot run on this host; empty where it can."""
    present = memory_nodes(topology)
    for node in sorted(nodes):
        if present and node not in present:
            return f"node {node} does not exist here; this host has {', '.join(map(str, present))}"
    if device == "cuda" and gpu not in [entry["gpu"] for entry in topology["gpus"]]:
        return f"GPU {gpu} does not exist here"
    return ""
