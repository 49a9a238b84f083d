"""Makes the runs of a study one at a time, each in a bound process of its own, and remembers each as it ends.

A run that is done is read back, not made again; one that failed or was cut short is made when the study goes on.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_text
from tilecast.locality.analysis import analyse
from tilecast.locality.convert import import_recording, nsys
from tilecast.locality.placement import numactl, verified
from tilecast.locality.study import NO_OP, Cell, Study, cells, manifest
from tilecast.locality.topology import NOT_HERE, local_node, memory_nodes, read_topology, why_not_run

PROFILED_BATCHES = 20
_DENIED = ("set_mempolicy", "Operation not permitted", "mbind")


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Within: no other process runs a study into this folder."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TilecastError(f"{state}: another process runs this study; wait for it") from None
        yield


def run_study(
    name: str,
    study: Study,
    state: Path,
    device: str = "auto",
    fresh: bool = False,
    topology: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything measured, as one record; what `state` holds of it already is not measured again."""
    topology = read_topology() if topology is None else topology
    device = ("cuda" if topology["gpus"] else "cpu") if device == "auto" else device
    with _alone(state):
        if fresh:
            for part in ("runs", "profiles", "measures", "logs"):
                shutil.rmtree(state / part, ignore_errors=True)
            (state / "forecasts.json").unlink(missing_ok=True)
        links = _links(study, device, state, topology) if device == "cuda" else []
        forecasts = _forecasts(study, state / "forecasts.json", topology, links) if links else []
        chosen = {cell.name: cell for cell in cells(study)[0]}
        runs = []
        for row in manifest(name, study):
            request = _request(chosen[row["cell"]], study, device)
            make = _maker(request, state / "logs" / row["run"], row["timeout_s"], topology)
            runs.append(row | _once(state / "runs" / f"{row['run']}.json", request, make))
            print(f"{row['position']} {row['run']}: {runs[-1]['status']} {runs[-1]['reason'] or ''}".rstrip())
        profiles = []
        for cell in chosen.values():
            mine = [run for run in runs if run["cell"] == cell.name]
            if any(run["status"] == "ok" for run in mine):
                profiles.append(_profile(cell, study, device, state, topology))
            else:
                profiles.append(_named(cell) | _outcome(mine[0]["status"], mine[0]["reason"]))
    return {
        "study": name,
        "definition": study.model_dump(),
        "device": device,
        "topology": dict(topology),
        "measured_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "links": links,
        "forecasts": forecasts,
        "runs": runs,
        "profiles": profiles,
    }


def _request(cell: Cell, study: Study, device: str) -> dict[str, Any]:
    """What the worker is asked for."""
    length = {"batch_size": study.batch_size, "samples": study.samples, "warmup": study.warmup}
    return asdict(cell) | length | {"device": device, "heads": study.heads.get(cell.model)}


def _named(cell: Cell) -> dict[str, Any]:
    return {"cell": cell.name} | asdict(cell)


def _links(study: Study, device: str, state: Path, topology: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A profile of the no-op from every node to every GPU, before anything is timed: how fast their links copy."""
    return [
        _profile(Cell(gpu, node, node, NO_OP, dtype), study, device, state, topology)
        for dtype in study.dtypes
        for gpu in study.gpus
        for node in study.nodes
    ]


def _forecasts(
    study: Study, path: Path, topology: Mapping[str, Any], links: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What is expected of each cell before any is timed; kept, so that it stays what was expected."""

    def make() -> dict[str, Any]:
        from tilecast.locality.compute import (
            of_this_host,  # imports torch, which only a host with a GPU needs here
        )

        return _outcome("ok", forecasts=of_this_host(study, topology, links))

    rates = [[link["cell"], (link.get("measures") or {}).get("h2d_p50_bytes_per_s")] for link in links]
    request = {"study": study.model_dump(), "gpus": list(topology["gpus"]), "links": rates}
    return list(_once(path, request, make)["forecasts"])


def _once(path: Path, request: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The outcome kept in `path`, if it is of this very request and ok; else made, kept and returned."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["digest"] == digest and kept["outcome"]["status"] == "ok":
            return dict(kept["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    outcome = make()
    write_text(path, json.dumps({"digest": digest, "request": request, "outcome": outcome}, indent=1) + "\n")
    return outcome


def _outcome(status: str, reason: str | None = None, **values: Any) -> dict[str, Any]:
    return {"status": status, "reason": reason, **values}


def _maker(
    request: Mapping[str, Any], log: Path, timeout_s: int, topology: Mapping[str, Any]
) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        nodes = {request["cpu_node"], request["memory_node"]}
        if reason := why_not_run(topology, request["gpu"], nodes, request["device"]):
            return _outcome(NOT_HERE, reason)
        outcome = execute(request, log, timeout_s, memory_nodes(topology))
        if outcome["status"] == "ok":
            placed = {int(node): number for node, number in outcome["pages"].items()}
            outcome["gpu_node"] = local_node(topology, request["gpu"])
            outcome["verified"] = verified(placed, request["memory_node"])
            if outcome["verified"] == "no":
                return outcome | _outcome("failed", f"its buffers lie on nodes {', '.join(outcome['pages'])}")
            if not outcome["output_copied"]:
                return outcome | _outcome("failed", "what came back is not the model's output")
        return outcome

    return make


def _bindings(request: Mapping[str, Any], nodes: list[int]) -> list[tuple[str, list[str]]]:
    """Ways to bind the run, the best first: a container may deny the memory policy, and memory follows the CPU."""
    whole = numactl(request["cpu_node"], request["memory_node"])
    ways = [("numactl --cpunodebind --membind", whole), ("numactl --cpunodebind", whole[:-1])] if whole else []
    return [*ways, ("none: this host has one node", [])] if len(nodes) < 2 else ways


def execute(
    request: Mapping[str, Any], log: Path, timeout_s: int, nodes: list[int], before: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run the worker, bound as well as the host allows; `before` is a profiler's command."""
    ways = _bindings(request, nodes)
    if not ways:
        return _outcome("failed", "numactl is not installed, and this host has several nodes")
    log.parent.mkdir(parents=True, exist_ok=True)
    asked, answered = log.with_name(f"{log.name}.request.json"), log.with_name(f"{log.name}.result.json")
    write_text(asked, json.dumps(request) + "\n")
    outcome = _outcome("failed", "was not started")
    for words, prefix in ways:
        answered.unlink(missing_ok=True)
        worker = [sys.executable, "-m", "tilecast.locality.worker", str(asked), str(answered)]
        code, said = _call([*before, *prefix, *worker], log, timeout_s)
        if answered.is_file():
            outcome = _outcome("ok", binding=words, **json.loads(answered.read_text(encoding="utf-8")))
            break
        if code is None:
            outcome = _outcome("timeout", f"not done after {timeout_s} s")
            break
        outcome = _outcome("failed", said)
        if not any(word in said for word in _DENIED):
            break
    asked.unlink()
    answered.unlink(missing_ok=True)
    return outcome


def _call(command: list[str], log: Path, timeout_s: int) -> tuple[int | None, str]:
    """Exit code and last words of a command whose output goes to log files; code None when its time was up."""
    source = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": search}
    error = log.with_name(f"{log.name}.stderr")
    with log.with_name(f"{log.name}.stdout").open("wb") as out, error.open("wb") as err:
        try:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
        except OSError as problem:
            return 127, f"{command[0]} cannot be started ({problem.strerror})"
        try:
            code: int | None = process.wait(timeout=timeout_s)
        except BaseException as reason:  # also an interruption: what was started must not outlive this
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(reason, subprocess.TimeoutExpired):
                raise
            code = None
    lines = [line for line in error.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("error:", "libnuma:", "set_mempolicy"))] or lines[-1:]
    return code, told[0].removeprefix("error: ") if told else f"ended with exit code {code}"


def _profile(cell: Cell, study: Study, device: str, state: Path, topology: Mapping[str, Any]) -> dict[str, Any]:
    """One profiled run of a cell, apart from the timed ones, and what its profile says."""
    tool = nsys() if device == "cuda" else None  # on the CPU device Nsight Systems sees ranges alone
    request = _request(cell, study, device) | {
        "samples": min(study.samples, PROFILED_BATCHES * study.batch_size),
        "ranges": "nvtx" if tool else "torch",
    }
    report = state / "profiles" / f"{cell.name}{'.nsys-rep' if tool else '.json'}"

    def make() -> dict[str, Any]:
        if reason := why_not_run(topology, cell.gpu, {cell.cpu_node, cell.memory_node}, device):
            return _outcome(NOT_HERE, reason)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        recorder: tuple[str, ...] = ()
        if tool:
            recorder = (
                tool, "profile", "--trace=cuda,nvtx", "--sample=none", "--capture-range=cudaProfilerApi",
                "--capture-range-end=stop", "--force-overwrite=true", f"--output={report.with_suffix('')}",
            )  # fmt: skip
        asked = request | ({} if tool else {"trace": str(report)})
        log = state / "logs" / f"{cell.name}_profile"
        outcome = execute(asked, log, study.timeout_s, memory_nodes(topology), recorder)
        if outcome["status"] != "ok":
            return outcome
        try:
            recording = report.with_suffix(".qdstrm")
            if tool and not report.is_file() and recording.is_file():
                import_recording(recording, report)
            measures, drawn = analyse(report, study.batch_size)
        except TilecastError as error:
            return _outcome("failed", str(error).replace(str(report), report.name))
        return _outcome("ok", profiler="nsys" if tool else "torch", measures=measures, timeline=drawn)

    return _named(cell) | _once(state / "measures" / f"{cell.name}.json", request, make)
