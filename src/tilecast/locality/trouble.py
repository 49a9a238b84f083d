"""What may go wrong with a study on this host, looked at before anything runs: the guide's list of troubles."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tilecast.locality.convert import nsys
from tilecast.locality.guide import CLAIMED_PER_S, output_bytes, sample_bytes
from tilecast.locality.placement import numactl
from tilecast.locality.study import Study, cells
from tilecast.locality.topology import memory_nodes, why_not_run

SLOTS = 2  # buffers of each kind
START_S = 20.0  # ASSUME: to start a process, import torch and build a model


def troubles(study: Study, topology: Mapping[str, Any], device: str) -> Iterator[tuple[str, str]]:
    """Each of the guide's four troubles, and what is found of it here: `ok`, or what to do."""
    chosen = cells(study)[0]
    largest = max(sample_bytes(cell.dtype) + output_bytes(cell.model, cell.dtype) for cell in chosen)
    buffers = SLOTS * study.batch_size * largest
    room = min((node["memory_bytes"] for node in topology["nodes"] if node["memory_bytes"]), default=0)
    gpu = _free_bytes() if device == "cuda" else None
    rooms = (("a node", room), ("a GPU", gpu))
    short = [f"{name} has {size / 1e9:.1f} GB" for name, size in rooms if size and size < buffers]
    needs = f"a run's buffers take {buffers / 1e6:.1f} MB"
    yield "memory", f"{needs}; {', '.join(short)}: lower batch_size or memory_size_mb" if short else f"ok: {needs}"
    wrong = {why_not_run(topology, cell.gpu, {cell.cpu_node, cell.memory_node}, device) for cell in chosen} - {""}
    yield "NUMA binding", "; ".join(sorted(wrong)) or _binding(study, topology)
    if device != "cuda":
        yield "Nsight Systems", "ok: not needed on the CPU device, torch's profiler records"
    elif tool := nsys():
        yield (
            "Nsight Systems",
            f"ok: {tool}" if _may_profile() else "kernel.perf_event_paranoid is above 2: ask for 2",
        )
    else:
        yield "Nsight Systems", "nsys is not installed: torch's profiler records instead"
    slowest = START_S + (study.samples + study.warmup) / CLAIMED_PER_S[0]
    words = f"at the guide's slowest rate a run takes {slowest:.0f} of {study.timeout_s} s"
    yield "timeout", f"ok: {words}" if slowest < study.timeout_s else f"{words}: raise timeout_s"


def _binding(study: Study, topology: Mapping[str, Any]) -> str:
    if topology.get("given"):
        return "none: the topology is given, not this host's"
    if len(memory_nodes(topology)) < 2:
        return "ok: this host has one node, nothing is bound"
    if not (command := numactl(study.nodes[0], study.nodes[0])):
        return "numactl is not installed"
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    return f"denied: {tried.stderr.strip()}" if tried.returncode else "ok: numactl binds"


def _may_profile() -> bool:
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) <= 2
    except (OSError, ValueError):
        return True


def _free_bytes() -> float | None:
    """Free memory of the fullest GPU, where NVML says."""
    if not (tool := shutil.which("nvidia-smi")):
        return None
    command = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    sizes = [int(line) for line in said.split() if line.isdigit()]
    return min(sizes) * 2.0**20 if sizes else None
