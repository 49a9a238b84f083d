"""Binds a process to nodes, and finds the nodes on which its memory pages really lie."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_MOVE_PAGES = {"x86_64": 279, "aarch64": 239}  # number of the system call
_ASKED = 4096  # pages looked at, spread over the buffer


def numactl(cpu_node: int, memory_node: int) -> list[str]:
    """The prefix that binds a command to nodes; empty where numactl is not installed."""
    tool = shutil.which("numactl")
    return [tool, f"--cpunodebind={cpu_node}", f"--membind={memory_node}"] if tool else []


def allowed(status: str | None = None) -> dict[str, str]:
    """CPUs and memory nodes this process may use, as the kernel lists them."""
    text = Path("/proc/self/status").read_text() if status is None else status
    found = dict(re.findall(r"^(Cpus|Mems)_allowed_list:\s*(\S+)", text, re.MULTILINE))
    return {"cpus": found.get("Cpus", ""), "nodes": found.get("Mems", "")}


def pages_by_node(address: int, size: int) -> tuple[dict[int, int], str]:
    """Number of a buffer's pages by node, and how they were found; empty where the kernel may not be asked."""
    if counted := _by_system_call(address, size):
        return counted, "move_pages"
    try:
        counted = _by_map(Path("/proc/self/numa_maps").read_text(), address)
    except OSError:
        counted = {}
    return (counted, "numa_maps") if counted else ({}, "the kernel may not be asked")


def _by_system_call(address: int, size: int) -> dict[int, int]:
    """Pages by node from the system call `move_pages`, which moves nothing when no targets are given."""
    number = _MOVE_PAGES.get(platform.machine())
    if number is None:
        return {}
    page = os.sysconf("SC_PAGE_SIZE")
    first, last = address // page, (address + size - 1) // page
    step = max(1, (last - first) // _ASKED)
    wanted = [place * page for place in range(first, last + 1, step)]
    addresses = (ctypes.c_void_p * len(wanted))(*wanted)
    nodes = (ctypes.c_int * len(wanted))(*[-1] * len(wanted))
    libc = ctypes.CDLL(None, use_errno=True)
    this_process, targets, flags = ctypes.c_int(0), ctypes.c_void_p(None), ctypes.c_int(0)
    count = ctypes.c_ulong(len(wanted))
    code = libc.syscall(ctypes.c_long(number), this_process, count, addresses, targets, nodes, flags)
    return dict(sorted(Counter(node for node in nodes if node >= 0).items())) if code == 0 else {}


def _by_map(text: str, address: int) -> dict[int, int]:
    """Pages by node of the mapping that holds `address`, from the text of numa_maps."""
    lines = {int(line.split(" ", 1)[0], 16): line for line in text.splitlines()}
    before = [start for start in lines if start <= address]
    found = re.findall(r"\bN(\d+)=(\d+)", lines[max(before)]) if before else []
    return {int(node): int(pages) for node, pages in found}


def verified(pages: Mapping[int, int], memory_node: int) -> str:
    """Whether nearly all pages lie on the node asked for: yes, no, or unknown."""
    whole = sum(pages.values())
    if not whole:
        return "unknown"
    return "yes" if pages.get(memory_node, 0) >= 0.99 * whole else "no"
