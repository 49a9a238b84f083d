"""Runs on the CPU device: bound with the real numactl, remembered, gone on with, and failed one by one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tilecast.base.errors import TilecastError
from tilecast.locality import runner
from tilecast.locality.record import tables, write_study
from tilecast.locality.study import load_study
from tilecast.locality.topology import memory_nodes, read_topology

torch = pytest.importorskip("torch")
TINY = {"repetitions": 1, "samples": 4, "warmup": 2, "batch_size": 2, "models": ["vit0x0x0"]}
ONE = {
    "nodes": [{"node": 0, "cpus": "0", "memory_bytes": 1, "distances": [10]}],
    "gpus": [],
    "testable": False,
    "verdict": "not testable here: no GPU, one node",
}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the worker's process: every request it was given; those for vit32x2x128 fail."""
    asked: list[dict[str, Any]] = []

    def execute(request: Any, log: Path, timeout_s: int, nodes: Any, before: Any = ()) -> dict[str, Any]:
        asked.append(dict(request))
        if request["model"] == "vit32x2x128":
            return {"status": "failed", "reason": "out of memory"}
        if "trace" in request:
            Path(request["trace"]).write_text('{"traceEvents": []}')
        done = {"batches": 2, "wall_s": 0.5, "samples_per_s": 8.0, "device": "cpu", "device_name": "CPU"}
        return {
            "status": "ok",
            "reason": None,
            "pages": {"0": 9},
            "output_copied": True,
            "binding": "none",
            **done,
        }

    monkeypatch.setattr(runner, "execute", execute)
    return asked


def test_a_finished_run_is_never_made_twice(worker: list[dict[str, Any]], tmp_path: Path) -> None:
    study = load_study("quick_test", TINY | {"repetitions": 3})
    first = runner.run_study("quick_test", study, tmp_path, topology=ONE)
    assert len([request for request in worker if "ranges" not in request]) == 3
    worker.clear()
    again = runner.run_study("quick_test", study, tmp_path, topology=ONE)
    assert again["runs"] == first["runs"]
    assert [request for request in worker if "ranges" not in request] == []
    runner.run_study("quick_test", study, tmp_path, topology=ONE, fresh=True)
    assert len([request for request in worker if "ranges" not in request]) == 3


def test_an_interrupted_study_goes_on_where_it_stopped(
    worker: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study("quick_test", TINY | {"repetitions": 4})
    whole = runner.execute
    with monkeypatch.context() as patch:

        def stops(*arguments: Any, **more: Any) -> dict[str, Any]:
            if len(worker) == 2:
                raise KeyboardInterrupt
            return whole(*arguments, **more)

        patch.setattr(runner, "execute", stops)
        with pytest.raises(KeyboardInterrupt):
            runner.run_study("quick_test", study, tmp_path, topology=ONE)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    worker.clear()
    done = runner.run_study("quick_test", study, tmp_path, topology=ONE)
    assert len([request for request in worker if "ranges" not in request]) == 2
    assert [run["status"] for run in done["runs"]] == ["ok"] * 4


def test_a_changed_request_is_run_anew_and_others_are_kept(worker: list[dict[str, Any]], tmp_path: Path) -> None:
    runner.run_study("quick_test", load_study("quick_test", TINY), tmp_path, topology=ONE)
    worker.clear()
    more = load_study("quick_test", TINY | {"models": ["vit0x0x0", "vit32x4x512"]})
    runner.run_study("quick_test", more, tmp_path, topology=ONE)
    assert {request["model"] for request in worker if "ranges" not in request} == {"vit32x4x512"}
    worker.clear()
    runner.run_study("quick_test", load_study("quick_test", TINY | {"samples": 6}), tmp_path, topology=ONE)
    assert [request["samples"] for request in worker if "ranges" not in request] == [6]


def test_a_cell_that_fails_harms_no_other(worker: list[dict[str, Any]], tmp_path: Path) -> None:
    study = load_study("quick_test", TINY | {"models": ["vit0x0x0", "vit32x2x128"], "nodes": [0, 9]})
    raw = runner.run_study("quick_test", study, tmp_path, topology=ONE)
    outcomes = {run["cell"]: (run["status"], run["reason"]) for run in raw["runs"]}
    nowhere = ("not testable here", "node 9 does not exist here; this host has 0")
    assert outcomes == {
        "pipeline_gpu0_numa0_vit0x0x0": ("ok", None),
        "pipeline_gpu0_numa0_vit32x2x128": ("failed", "out of memory"),
        "pipeline_gpu0_numa9_vit0x0x0": nowhere,
        "pipeline_gpu0_numa9_vit32x2x128": nowhere,
    }
    worker.clear()
    runner.run_study("quick_test", study, tmp_path, topology=ONE)  # what failed is tried again
    assert [request["model"] for request in worker if "ranges" not in request] == ["vit32x2x128"]


def test_links_are_measured_and_forecasts_made_before_anything_is_timed_and_kept(
    worker: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = {"gpu": 0, "name": "NVIDIA L40S", "node": 0}
    made: list[list[bool]] = []

    def forecast(study: Any, topology: Any, links: Any) -> list[dict[str, Any]]:
        made.append(["ranges" in request for request in worker])
        assert [(link["cell"], link["status"]) for link in links] == [
            ("pipeline_gpu0_numa0_vit0x0x0", "ok"), ("pipeline_gpu0_numa9_vit0x0x0", "not testable here"),
        ]  # fmt: skip
        return [{"gpu": 0, "model": "vit32x4x512", "predicted_per_s": 1.0}]

    monkeypatch.setattr("tilecast.locality.compute.of_this_host", forecast)
    monkeypatch.setattr(runner, "nsys", lambda: None)
    monkeypatch.setattr(runner, "analyse", lambda path, size: ({"h2d_p50_bytes_per_s": 2e10}, []))
    study = load_study("quick_test", TINY | {"models": ["vit32x4x512"], "nodes": [0, 9]})
    for _ in range(2):
        raw = runner.run_study("quick_test", study, tmp_path, topology=ONE | {"gpus": [gpu]})
        assert raw["device"] == "cuda" and raw["forecasts"][0]["predicted_per_s"] == 1
        assert {profile["model"] for profile in raw["profiles"]} == {"vit32x4x512"}
    assert made == [[True]]  # one profile of the no-op, no timed run
    assert [request["model"] for request in worker] == ["vit0x0x0", "vit32x4x512", "vit32x4x512"]


def test_pages_on_another_node_fail_the_run(
    worker: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = runner.execute
    monkeypatch.setattr(runner, "execute", lambda *given, **more: usual(*given, **more) | {"pages": {"1": 9}})
    raw = runner.run_study("quick_test", load_study("quick_test", TINY), tmp_path, topology=ONE)
    assert [(run["status"], run["reason"]) for run in raw["runs"]] == [("failed", "its buffers lie on nodes 1")]


def test_another_output_than_the_models_fails_the_run(
    worker: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = runner.execute
    monkeypatch.setattr(runner, "execute", lambda *given, **more: usual(*given, **more) | {"output_copied": False})
    raw = runner.run_study("quick_test", load_study("quick_test", TINY), tmp_path, topology=ONE)
    found = [(run["status"], run["reason"]) for run in raw["runs"]]
    assert found == [("failed", "what came back is not the model's output")]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    match = "another process runs this study"
    with runner._alone(tmp_path), pytest.raises(TilecastError, match=match), runner._alone(tmp_path):
        pass


def request(**changes: Any) -> dict[str, Any]:
    plain = {
        "device": "cpu", "gpu": 0, "cpu_node": 0, "memory_node": 0, "model": "vit32x2x128", "heads": None,
        "dtype": "fp32", "compiled": False, "batch_size": 2, "samples": 8, "warmup": 2,
    }  # fmt: skip
    return plain | changes


def here() -> int:
    """A node of this host."""
    nodes = memory_nodes(read_topology())
    if not nodes:
        pytest.skip("the kernel shows no NUMA node")
    return nodes[0]


@pytest.mark.slow
def test_a_real_run_bound_profiled_and_written(tmp_path: Path) -> None:
    node = here()
    if shutil.which("numactl") is None:
        pytest.skip("numactl is not installed")
    study = load_study("quick_test", TINY | {"models": ["vit32x2x128"], "nodes": [node]})
    raw = runner.run_study("quick_test", study, tmp_path / "state", device="cpu")
    write_study(raw, tmp_path / "state", tmp_path / "quick_test")
    run = raw["runs"][0]
    assert (run["status"], run["verified"]) in (("ok", "yes"), ("ok", "unknown"))
    assert run["binding"].startswith("numactl --cpunodebind")
    assert run["output_copied"] is True and run["samples_per_s"] > 0
    measures = tables(raw)["profiles"].iloc[0]
    assert (measures["status"], measures["profiler"], measures["batches"]) == ("ok", "torch", 2)
    assert measures["h2d_bytes"] == 2 * 2 * 602_112 and measures["d2h_bytes"] == 2 * 2 * 4000
    files = {path.name for path in (tmp_path / "quick_test").iterdir()}
    assert {"manifest.csv", "runs.csv", "results.json", "experiment_summary.json", "nsys_reports", "logs"} <= files
    said = json.loads((tmp_path / "quick_test/experiment_summary.json").read_text())
    assert said["success_rate_percent"] == 100


def test_bf16_and_the_no_op_run_in_this_process(tmp_path: Path) -> None:
    from tilecast.locality.worker import perform

    done = perform(request(dtype="bf16", samples=4))
    assert done["output_copied"] and done["batches"] == 2
    trace = tmp_path / "trace.json"
    done = perform(request(model="vit0x0x0", samples=4, trace=str(trace)))
    assert done["output_copied"] and done["samples_per_s"] > 0 and json.loads(trace.read_text())["traceEvents"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler for torch.compile")
def test_a_compiled_run_in_bf16(tmp_path: Path) -> None:
    asked = request(model="vit32x1x128", dtype="bf16", compiled=True, samples=4)
    outcome = runner.execute(asked, tmp_path / "logs" / "a", 300, [here()])
    assert outcome["status"] == "ok", outcome["reason"]
    assert outcome["output_copied"] and (outcome["device"], outcome["batches"]) == ("cpu", 2)


def test_the_output_is_checked_and_not_the_input() -> None:
    from tilecast.locality.worker import Engine, Pipeline, make_model

    engine = Engine("cpu", 0, None)
    with torch.inference_mode():
        pipeline = Pipeline(engine, make_model("vit32x2x128", None, "fp32", engine.place), 2, "fp32")
        pipeline.run(3)
        assert pipeline.host_out[0].shape == (2, 1000) and pipeline.output_is_copied()
        pipeline.host_out[0].add_(1)
        assert not pipeline.output_is_copied()


def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    outcome = runner.execute(
        request(), tmp_path / "logs" / "a", 1, [here()], (sys.executable, "-c", "import time; time.sleep(60)")
    )
    assert (outcome["status"], outcome["reason"]) == ("timeout", "not done after 1 s")


def test_what_the_worker_cannot_do_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tilecast.locality.worker import main

    if torch.cuda.is_available():
        pytest.skip("this host has CUDA")
    (tmp_path / "request.json").write_text(json.dumps(request(device="cuda")))
    assert main(str(tmp_path / "request.json"), str(tmp_path / "result.json")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and len(said.splitlines()) == 1
    assert not (tmp_path / "result.json").exists()


def test_a_denied_memory_policy_falls_back_to_the_cpu_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numactl").write_text(
        '#!/bin/sh\ncase "$*" in *--membind*) echo "set_mempolicy: Operation not permitted" >&2; exit 1;; esac\n'
        'for last; do :; done\necho "{}" > "$last"\n'
    )
    (tmp_path / "numactl").chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(tmp_path / name))
    outcome = runner.execute(request(model="vit0x0x0"), tmp_path / "a", 120, [0, 1])
    assert (outcome["status"], outcome["binding"]) == ("ok", "numactl --cpunodebind")


def test_several_nodes_need_numactl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    outcome = runner.execute(request(), tmp_path / "a", 120, [0, 1])
    assert outcome["reason"] == "numactl is not installed, and this host has several nodes"


@pytest.mark.skipif(shutil.which("numactl") is None, reason="numactl is not installed")
def test_numactl_refuses_a_node_that_is_not_here() -> None:
    done = subprocess.run(["numactl", "--membind=63", "true"], capture_output=True, text=True)
    assert done.returncode != 0
