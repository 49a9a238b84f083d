"""Makes the runs of a study one at a time, each in a bound process of its own, and keeps each result at once.

A run that is done is read back, not made again; one that failed or was interrupted is made on the next start.
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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_text
from tilecast.base.paths import SOURCE
from tilecast.locality.analysis import analyse
from tilecast.locality.convert import import_recording, nsys
from tilecast.locality.guide import NO_OP
from tilecast.locality.placement import numactl, verified
from tilecast.locality.study import Cell, Study, cells, manifest
from tilecast.locality.topology import NOT_HERE, local_node, memory_nodes, read_topology, why_not_run

PROFILED_BATCHES = 20
READ_BACK_S = 0.5  # a run that took less was read back: starting a process and importing torch takes longer
_DENIED = ("set_mempolicy", "Operation not permitted", "mbind")
Outcome = dict[str, Any]


def run_study(
    name: str,
    study: Study,
    state: Path,
    device: str = "auto",
    fresh: bool = False,
    topology: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything measured, as one record; results that `state` holds already are not measured again."""
    topology = read_topology() if topology is None else topology
    device = ("cuda" if topology["gpus"] else "cpu") if device == "auto" else device
    host = _Host(study, device, state, topology)
    with _alone(state):
        if fresh:
            for part in ("runs", "profiles", "measures", "logs"):
                shutil.rmtree(state / part, ignore_errors=True)
            (state / "forecasts.json").unlink(missing_ok=True)
        links = host.links() if device == "cuda" else []
        forecasts = host.forecasts(links) if links else []
        chosen = {cell.name: cell for cell in cells(study)[0]}
        planned, runs = manifest(name, study), []
        progress = _Progress(state / "logs" / "experiment.log", len(planned) + len(chosen))
        for row in planned:
            runs.append(row | host.run(chosen[row["cell"]], row["run"]))
            progress.passed(row["run"], runs[-1])
        profiles = []
        for cell in chosen.values():
            mine = [run for run in runs if run["cell"] == cell.name]
            if any(run["status"] == "ok" for run in mine):
                profiles.append(host.profile(cell))
            else:
                profiles.append(_named(cell) | _outcome(mine[0]["status"], mine[0]["reason"]))
            progress.passed(f"profile of {cell.name}", profiles[-1])
    raw = {
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
    write_text(state / "measured.json", json.dumps(raw, indent=1) + "\n")
    return raw


class _Progress:
    """Tells after each run how far the study is, on the screen and in the guide's experiment.log."""

    def __init__(self, log: Path, runs: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._runs, self._done, self._began = log, runs, 0, time.monotonic()
        self._made: list[float] = []
        self._last = self._began

    def passed(self, name: str, outcome: Mapping[str, Any]) -> None:
        """A run was made, or read back: how long the others take is told by those that were made."""
        self._done += 1
        now = time.monotonic()
        words = f"{self._done} of {self._runs} {name}: {outcome['status']} {outcome['reason'] or ''}".rstrip()
        if now - self._last < READ_BACK_S:
            line = f"{words}, as kept"
        else:
            self._made.append(now - self._last)
            left = sum(self._made) / len(self._made) * (self._runs - self._done)
            line = f"{words}; {now - self._began:.0f} s gone, about {left:.0f} s left"
        self._last = now
        print(line, flush=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')} {line}\n")


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """While open, no other process can run a study into this folder."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TilecastError(f"{state}: another process runs this study; wait for it") from None
        yield


def _named(cell: Cell) -> dict[str, Any]:
    return {"cell": cell.name} | asdict(cell)


def _outcome(status: str, reason: str | None = None, **values: Any) -> Outcome:
    return {"status": status, "reason": reason, **values}


@dataclass(frozen=True)
class _Host:
    """A study on this host: its device, its topology, and the folder that keeps results."""

    study: Study
    device: str
    state: Path
    topology: Mapping[str, Any]

    def links(self) -> list[dict[str, Any]]:
        """Profiles of the no-op from every node to every GPU, before anything is timed: rates of the links."""
        return [
            self.profile(Cell(gpu, node, node, NO_OP, dtype))
            for dtype in self.study.dtypes
            for gpu in self.study.gpus
            for node in self.study.nodes
        ]

    def forecasts(self, links: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Forecasts of each cell, made before any is timed and kept unchanged."""

        def make() -> Outcome:
            from tilecast.locality.compute import of_this_host  # imports torch, needed only with a GPU

            return _outcome("ok", forecasts=of_this_host(self.study, self.topology, links))

        rates = [[link["cell"], (link.get("measures") or {}).get("h2d_p50_bytes_per_s")] for link in links]
        request = {"study": self.study.model_dump(), "gpus": list(self.topology["gpus"]), "links": rates}
        return list(_once(self.state / "forecasts.json", request, make)["forecasts"])

    def run(self, cell: Cell, name: str) -> Outcome:
        """One timed run of a cell; it fails if its buffers lie elsewhere or its output is wrong."""
        request = self._request(cell)

        def make() -> Outcome:
            outcome = self._execute(cell, request, name)
            if outcome["status"] != "ok":
                return outcome
            placed = {int(node): number for node, number in outcome["pages"].items()}
            outcome["gpu_node"] = local_node(self.topology, cell.gpu)
            given = self.topology.get("given")
            outcome["verified"] = "unknown" if given else verified(placed, cell.memory_node)
            if outcome["verified"] == "no":
                outcome |= _outcome("failed", f"its buffers lie on nodes {', '.join(outcome['pages'])}")
            elif not outcome["output_copied"]:
                outcome |= _outcome("failed", "what came back is not the model's output")
            return outcome

        return _once(self.state / "runs" / f"{name}.json", request, make)

    def profile(self, cell: Cell) -> dict[str, Any]:
        """One profiled run of a cell, apart from the timed ones, and the measures of its profile."""
        tool = nsys() if self.device == "cuda" else None  # on the CPU device Nsight Systems sees ranges alone
        batch = self.study.batch_size
        request = self._request(cell) | {
            "samples": min(self.study.samples, PROFILED_BATCHES * batch),
            "ranges": "nvtx" if tool else "torch",
        }
        report = self.state / "profiles" / f"{cell.name}{'.nsys-rep' if tool else '.json'}"

        def make() -> Outcome:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.unlink(missing_ok=True)
            asked = request if tool else request | {"trace": str(report)}
            outcome = self._execute(cell, asked, f"{cell.name}_profile", _recorder(tool, report) if tool else ())
            if outcome["status"] != "ok":
                return outcome
            try:
                recording = report.with_suffix(".qdstrm")
                if tool and not report.is_file() and recording.is_file():
                    import_recording(recording, report)
                measures, drawn = analyse(report, batch)
            except TilecastError as error:
                return _outcome("failed", str(error).replace(str(report), report.name))
            return _outcome("ok", profiler="nsys" if tool else "torch", measures=measures, timeline=drawn)

        return _named(cell) | _once(self.state / "measures" / f"{cell.name}.json", request, make)

    def _request(self, cell: Cell) -> dict[str, Any]:
        """The input of the worker."""
        length = self.study.model_dump(include={"batch_size", "samples", "warmup"})
        return asdict(cell) | length | {"device": self.device, "heads": self.study.heads.get(cell.model)}

    def _execute(self, cell: Cell, request: Mapping[str, Any], log: str, before: tuple[str, ...] = ()) -> Outcome:
        """Run the worker for a cell, unless this host cannot."""
        nodes = {cell.cpu_node, cell.memory_node}
        if reason := why_not_run(self.topology, cell.gpu, nodes, self.device):
            return _outcome(NOT_HERE, reason)
        timeout_s = self.study.timeout_s
        here = (
            memory_nodes(self.topology) if not self.topology.get("given") else []
        )  # another host's are not bound
        return execute(request, self.state / "logs" / log, timeout_s, here, before)


def _recorder(tool: str, report: Path) -> tuple[str, ...]:
    """The command of Nsight Systems that records from the worker's start signal to its stop signal."""
    ranges = ("--capture-range=cudaProfilerApi", "--capture-range-end=stop")
    output = ("--force-overwrite=true", f"--output={report.with_suffix('')}")
    return (tool, "profile", "--trace=cuda,nvtx", "--sample=none", *ranges, *output)


def _once(path: Path, request: Mapping[str, Any], make: Callable[[], Outcome]) -> Outcome:
    """The outcome kept in `path`, if it answers this very request and is ok; else a new one, which is kept."""
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


def _bindings(request: Mapping[str, Any], nodes: list[int]) -> list[tuple[str, list[str]]]:
    """Ways to bind the run, the best first: a container may deny the memory policy, and memory follows the CPU."""
    whole = numactl(request["cpu_node"], request["memory_node"])
    ways = [("numactl --cpunodebind --membind", whole), ("numactl --cpunodebind", whole[:-1])] if whole else []
    if not nodes:
        return [("none: no node of this host is known", [])]
    return [*ways, ("none: this host has one node", [])] if len(nodes) < 2 else ways


def execute(
    request: Mapping[str, Any], log: Path, timeout_s: int, nodes: list[int], before: tuple[str, ...] = ()
) -> Outcome:
    """Run the worker, bound as well as the host allows; `before` is a profiler's command."""
    ways = _bindings(request, nodes)
    if not ways:
        return _outcome("failed", "numactl is not installed, and this host has several nodes")
    log.parent.mkdir(parents=True, exist_ok=True)
    asked, answered = log.with_name(f"{log.name}.request.json"), log.with_name(f"{log.name}.result.json")
    write_text(asked, json.dumps(request) + "\n")
    outcome = _outcome("failed", "was not started")
    for binding, prefix in ways:
        answered.unlink(missing_ok=True)
        worker = [sys.executable, "-m", "tilecast.locality.worker", str(asked), str(answered)]
        code, message = _call([*before, *prefix, *worker], log, timeout_s)
        if answered.is_file():
            outcome = _outcome("ok", binding=binding, **json.loads(answered.read_text(encoding="utf-8")))
            break
        if code is None:
            outcome = _outcome("timeout", f"not done after {timeout_s} s")
            break
        outcome = _outcome("failed", message)
        if not any(word in message for word in _DENIED):
            break
    asked.unlink()
    answered.unlink(missing_ok=True)
    return outcome


def _call(command: list[str], log: Path, timeout_s: int) -> tuple[int | None, str]:
    """Exit code and last message of a command whose output goes to log files; the code is None after a timeout."""
    search = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
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
    messages = [line for line in lines if line.startswith(("error:", "libnuma:", "set_mempolicy"))] or lines[-1:]
    return code, messages[0].removeprefix("error: ") if messages else f"ended with exit code {code}"
