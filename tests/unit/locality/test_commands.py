"""`tilecast numa`: the guide's commands in words, troubles looked for, and two nodes that are not here."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.locality.study import cells
from tilecast.locality.sweep import changed
from tilecast.locality.topology import given_topology
from tilecast.locality.trouble import troubles

SMI = "{gpu}, NVIDIA L40S, 00000000:{gpu}1:00.0, 4, 16, 16\n"


@pytest.fixture
def two_nodes(tmp_path: Path) -> Path:
    """A /sys of nodes 0 and 2 with four GPUs, two next to each; what NVML says beside it."""
    root = tmp_path / "sys"
    for node, cpus in ((0, "0-15"), (2, "16-31")):
        folder = root / f"devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus)
        (folder / "meminfo").write_text(f"Node {node} MemTotal: 131072000 kB")
        (folder / "distance").write_text("10 32" if node == 0 else "32 10")
    for gpu in range(4):
        folder = root / f"bus/pci/devices/0000:{gpu}1:00.0"
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text("0" if gpu < 2 else "2")
    (root / "nvidia-smi.csv").write_text("".join(SMI.format(gpu=gpu) for gpu in range(4)))
    return root


@pytest.mark.parametrize(
    ("study", "words", "counted"),
    [
        ("numa_study", "", [48]),
        ("numa_study", "experiment.hardware.gpu_ids=[0,1]", [24]),
        ("quick_test", "experiment.test.num_samples=500", [3]),
        ("quick_test", "experiment.hardware.gpu_ids=[0,1,2,3]", [12]),
        ("numa_study", "experiment.hardware.numa_nodes=[0,1,2]", [72]),
        ("numa_study", "experiment.test.compile_model=true", [48]),
        ("scaling_study", "experiment.test.compile_model=true,false", [16]),
        ("numa_study", "experiment.test.compile_model=true,false numa_nodes=[0],[2] num_samples=500", [96]),
        ("quick_test", "experiment.vit_configs.depth=2,4,6,8 gpu_ids=[0],[1]", [18]),
        ("quick_test", "+experiment.vit_configs.patch_size=16", [3]),
        ("numa_study", "batch_size=20 timeout_s=900", [48]),
        ("quick_test", "batch_size=5,10 dim=128,256", [5, 5]),
    ],
)
def test_the_guides_commands_in_words(study: str, words: str, counted: list[int]) -> None:
    found = changed(study, words.split())
    assert [len(cells(made)[0]) for _, made in found] == counted
    assert len({label for label, _ in found}) == len(found)


def test_what_the_words_change() -> None:
    ((_, study),) = changed("quick_test", ["gpu_ids=[0,1]", "samples=500", "memory_size_mb=6"])
    assert (study.gpus, study.samples, study.batch_size) == ([0, 1], 500, 9)
    assert [label for label, _ in changed("quick_test", ["batch_size=5,10"])] == ["batch_size=5", "batch_size=10"]
    ((_, deep),) = changed("quick_test", ["depth=8", "patch_size=16"])
    assert list(deep.models.values()) == [["vit0x0x0", "vit16x8x256", "vit16x8x512"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["speed=1"], "is no change of a study"),
        (["samples"], "is no change of a study"),
        (["experiment.resume=false"], "give --fresh"),
        (["samples="], "has no value"),
        (["samples=-5"], "`samples` = -5"),
        (["samples=1", "num_samples=2"], "is given twice"),
        (["depth=2", "models=vit0x0x0"], "give the one or the other"),
        (["dim=77"], "77"),
        (["memory_size_mb=0.1"], "holds no sample"),
        (["memory_size_mb=6", "batch_size=2"], "give one"),
    ],
)
def test_words_that_mean_nothing_are_one_line(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        changed("quick_test", words)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_troubles_are_looked_for(two_nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topology = given_topology(two_nodes)
    assert [node["node"] for node in topology["nodes"]] == [0, 2] and len(topology["gpus"]) == 4
    assert [gpu["node"] for gpu in topology["gpus"]] == [0, 0, 2, 2] and not topology["testable"]

    def found(*words: str) -> dict[str, str]:
        ((_, study),) = changed("numa_study", words)
        return dict(troubles(study, topology, "cpu"))

    assert all(said.startswith(("ok", "none")) for said in found().values())
    assert "node 1 does not exist here" in found("numa_nodes=[0,1]")["NUMA binding"]
    assert "raise timeout_s" in found("timeout_s=20")["timeout"]
    assert "lower batch_size" in found("memory_size_mb=200000")["memory"]
    assert main(["numa", "check", "experiment=numa_study", "numa_nodes=[7]", "--sysfs", str(two_nodes)]) == 1
    assert "node 7 does not exist here" in capsys.readouterr().out
    assert main(["numa", "topology", "--sysfs", str(two_nodes / "devices")]) == 1


def test_a_binding_that_the_system_denies_is_told_in_its_own_words(
    two_nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container without the right to bind: numactl is there, and fails."""
    topology = given_topology(two_nodes) | {"given": False}
    ((_, study),) = changed("numa_study", ["numa_nodes=[0,2]"])

    def found(script: str) -> str:
        monkeypatch.setattr("tilecast.locality.trouble.numactl", lambda *_: ["sh", "-c", script])
        return dict(troubles(study, topology, "cpu"))["NUMA binding"]

    assert found("echo 'set_mempolicy: not permitted' >&2; exit 1") == "denied: set_mempolicy: not permitted"
    assert found("exit 0") == "ok: numactl binds"


def plan(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.exhaustive
def test_two_nodes_that_are_not_here_planned_run_killed_gone_on_with_and_analysed(
    two_nodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real worker on the CPU device: 48 cells planned, 4 run; the process dies after the first of them."""
    pytest.importorskip("torch")
    assert main(["numa", "plan", "numa_study", "--output", str(tmp_path / "plan.csv")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 48
    small = ["gpu_ids=[0,2]", "models=vit0x0x0", "samples=4", "warmup=0", "batch_size=1", "repetitions=1"]
    where = ["--sysfs", str(two_nodes), "--output", str(tmp_path / "out"), "--state", str(tmp_path / "state")]
    command = [sys.executable, "-m", "tilecast", "numa", "run", "numa_study", *small, *where]
    begun: Any = subprocess.Popen(command, env=os.environ, start_new_session=True)
    kept = tmp_path / "state/numa_study/runs"
    deadline = time.monotonic() + 120
    while not list(kept.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    first = {path: path.read_bytes() for path in kept.glob("*.json")}
    assert 1 <= len(first) < 4
    assert subprocess.run(command, env=os.environ, check=False).returncode == 0
    assert all(path.read_bytes() == content for path, content in first.items())
    rows = plan(tmp_path / "out/numa_study")
    assert [row["status"] for row in rows] == ["ok"] * 4 and {row["cpu_node"] for row in rows} == {"0", "2"}
    log = (tmp_path / "out/numa_study/logs/experiment.log").read_text()
    assert "4 of 8" in log and "8 of 8 profile of pipeline" in log and "about 0 s left" in log  # and 4 profiles
    said = json.loads((tmp_path / "out/numa_study/experiment_summary.json").read_text())
    assert said["locality"] == "not testable here: the topology is given, not this host's"
    assert main(["numa", "analyze", str(tmp_path / "out/numa_study/nsys_reports"), "--batch", "1"]) == 0
    assert "pipeline_gpu2_numa2_vit0x0x0" in capsys.readouterr().out
    dated = [*command[3:], "--dated"]
    assert main(dated) == 0  # a finished study is read back, into a folder of its own
    assert len(list((tmp_path / "out/numa_study").glob("20*/*/results.json"))) == 1
