"""A host's nodes and GPUs from a made-up /sys, and where a buffer's pages lie on this one."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest

from tilecast.cli import main
from tilecast.locality.placement import _by_map, allowed, numactl, pages_by_node, verified
from tilecast.locality.topology import local_node, memory_nodes, read_topology, why_not_run

SMI = "0, NVIDIA L40S, 00000000:01:00.0, 4, 16, 16\n1, NVIDIA L40S, 00000000:C1:00.0, 4, 8, 16\nno line of a GPU\n"


def host(root: Path, nodes: dict[int, tuple[str, int]], gpus: dict[str, int]) -> Path:
    """A /sys with nodes (CPUs, kB) and PCI devices (node)."""
    for node, (cpus, memory) in nodes.items():
        folder = root / f"devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n")
        (folder / "meminfo").write_text(f"Node {node} MemTotal:       {memory} kB\nNode {node} MemFree: 1 kB\n")
        (folder / "distance").write_text("10 21\n")
    for address, node in gpus.items():
        folder = root / f"bus/pci/devices/{address}"
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(f"{node}\n")
        (folder / "local_cpulist").write_text("0-7\n")
        (folder / "current_link_speed").write_text("16.0 GT/s PCIe\n")
    return root


TWO = {0: ("0-7", 1000), 2: ("8-15", 1000)}
GPUS = {"0000:01:00.0": 0, "0000:c1:00.0": 2}


def test_gpus_are_found_on_their_nodes(tmp_path: Path) -> None:
    found = read_topology(host(tmp_path, TWO, GPUS), lambda: SMI)
    assert found["testable"] and found["verdict"] == "testable"
    assert [node["node"] for node in found["nodes"]] == [0, 2] == memory_nodes(found)
    assert found["nodes"][1]["memory_bytes"] == 1_024_000
    assert [(gpu["gpu"], gpu["node"], gpu["link_width"], gpu["link_width_max"]) for gpu in found["gpus"]] == [
        (0, 0, 16, 16),
        (1, 2, 8, 16),
    ]
    assert (local_node(found, 1), local_node(found, 7)) == (2, -1)


@pytest.mark.parametrize(
    ("nodes", "gpus", "smi", "verdict"),
    [
        ({0: TWO[0]}, GPUS, SMI, "not testable here: one node"),
        ({0: TWO[0]}, {}, "", "not testable here: no GPU, one node"),
        (TWO, {}, "", "not testable here: no GPU"),
        (
            TWO,
            dict.fromkeys(GPUS, -1),
            SMI,
            "not testable here: the kernel does not say which node any GPU is next to",
        ),
        ({0: TWO[0], 1: ("", 1000)}, GPUS, SMI, "not testable here: one node"),  # a GPU's own memory is no host's
        ({}, {}, "", "not testable here: no GPU, the kernel shows no NUMA node"),
    ],
)
def test_a_host_that_cannot_test_says_why(
    nodes: dict[int, tuple[str, int]], gpus: dict[str, int], smi: str, verdict: str, tmp_path: Path
) -> None:
    found = read_topology(host(tmp_path, nodes, gpus), lambda: smi)
    assert (found["testable"], found["verdict"]) == (False, verdict)


def test_what_cannot_run_says_why(tmp_path: Path) -> None:
    found = read_topology(host(tmp_path, TWO, GPUS), lambda: SMI)
    assert why_not_run(found, 0, {0, 2}, "cuda") == ""
    assert why_not_run(found, 0, {1}, "cuda") == "node 1 does not exist here; this host has 0, 2"
    assert why_not_run(found, 4, {0}, "cuda") == "GPU 4 does not exist here"
    assert why_not_run(found, 4, {0}, "cpu") == ""  # the CPU device stands in for any GPU


def test_this_hosts_topology_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["numa", "topology"]) == 0
    assert "locality: " in capsys.readouterr().out


MAPS = "7f0000000000 default anon=3 dirty=3 N0=2 N1=1 kernelpagesize_kB=4\n7f0000010000 bind:1 anon=8 N1=8\n"


@pytest.mark.parametrize(
    ("address", "pages"), [(0x7F0000000000, {0: 2, 1: 1}), (0x7F0000010FFF, {1: 8}), (0x1000, {})]
)
def test_the_mapping_of_an_address(address: int, pages: dict[int, int]) -> None:
    assert _by_map(MAPS, address) == pages


def test_pages_of_a_touched_buffer_are_found_here() -> None:
    size = 64 * mmap.PAGESIZE
    with mmap.mmap(-1, size) as buffer:
        buffer.write(b"x" * size)
        view = (ctypes.c_char * size).from_buffer(buffer)
        pages, how = pages_by_node(ctypes.addressof(view), size)
        del view
    if not pages:
        pytest.skip(how)
    assert sum(pages.values()) >= 64 and how in ("move_pages", "numa_maps")
    ranges = [part.split("-") for part in allowed()["nodes"].split(",")]  # such as 0-3,8
    assert all(any(int(part[0]) <= node <= int(part[-1]) for part in ranges) for node in pages)


def test_placement_is_judged() -> None:
    assert verified({0: 100}, 0) == "yes"
    assert verified({0: 50, 1: 50}, 0) == "no"
    assert verified({}, 0) == "unknown"


def test_binding_names_both_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert numactl(0, 2) == ["/bin/numactl", "--cpunodebind=0", "--membind=2"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert numactl(0, 2) == []
