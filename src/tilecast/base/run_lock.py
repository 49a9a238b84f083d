"""Mark the folder a run works in, so that what a killed run left there, its lock and its jobs, can be ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_text

RUN, JOBS = "tilecast-run", "tilecast-jobs"  # files in Snakemake's folder: locked by runs, and by their jobs
PATIENCE_S = 5.0  # between asking a process to end and ending it
_MARKED: set[Path] = set()  # by this process: Snakemake may read its workflow twice
_ORPHANS: set[int] = set()  # jobs of a killed run, by process

# Shell code that starts a job: it, and what it starts, holds the file of jobs open and locked until its end.
# Snakemake hands no open file to its jobs, so they open it themselves.
HOLD = f"if [ -e .snakemake/{JOBS} ]; then exec 9<.snakemake/{JOBS}; flock -s 9 2>/dev/null || :; fi; "


def claim(folder: Path, cluster: bool) -> str | None:
    """Mark `folder`, Snakemake's own, as in use until this process ends; the message for the user, if any.

    The mark is a shared lock of the operating system's, which goes with its holder. Where nobody else holds one,
    a lock of Snakemake's is a killed run's and is taken off: unless that run was another machine's, which may not
    see such marks, or a cluster's, whose jobs may outlive it. `end_orphans` has to follow before a job starts.
    """
    if folder.absolute() in _MARKED:
        return None
    _MARKED.add(folder.absolute())
    ours = {"process": os.getpid(), "host": platform.node(), "cluster": cluster}
    record = folder / f"{RUN}.json"
    left = list((folder / "locks").glob("*.lock"))
    try:
        folder.mkdir(exist_ok=True)
        mark = os.open(folder / RUN, os.O_RDWR | os.O_CREAT, 0o644)  # held: closed by our end alone
        (folder / JOBS).touch()
        alone = _locked(mark)
        before = _read(record)
        certain = alone and before.get("host") == ours["host"] and before.get("cluster") is False
        for file in left if certain else []:
            file.unlink()
        if certain:
            _ORPHANS.update(_holders(folder / JOBS))
        if certain or not left:
            write_text(record, json.dumps(ours, sort_keys=True) + "\n")
        fcntl.flock(mark, fcntl.LOCK_SH)
    except (OSError, TilecastError):  # a folder that cannot be written or marked: Snakemake's own lock has to do
        return None
    if not left and not _ORPHANS:
        return None
    on = " of a cluster" if before.get("cluster") else ""
    run = f"a run{on} (process {before.get('process', '?')} on {before.get('host', 'an unknown machine')})"
    if certain:
        return f"{run} was killed; this one goes on from there"
    if alone:
        return f"{run} left a lock; when none of its jobs is left either: snakemake --unlock"
    return f"{run} is at work in this folder; wait for it, or end it"


def end_orphans(folder: Path) -> str | None:
    """End the jobs that a killed run left at work, as `claim` found them; the message for the user, if any."""
    found = _ORPHANS & set(_holders(folder / JOBS))
    _ORPHANS.clear()
    if not found:
        return None
    named = ", ".join(map(str, sorted(found)))
    if not _end(lambda: found & set(_holders(folder / JOBS))):
        raise TilecastError(f"jobs of a killed run are still at work (processes {named}); end them first")
    return f"ended what the killed run had left at work (processes {named})"


def end_on_sigterm() -> None:
    """From here on SIGTERM ends this run as Ctrl-C does: its jobs first, and no waiting for what they do."""

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=_end, args=(lambda: descendants(os.getpid()),), daemon=True).start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def descendants(process: int) -> set[int]:
    """The processes that a process started, and those these started; none where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found, waiting = set(), [process]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += children
    return found


def _end(living: Callable[[], Iterable[int]]) -> bool:
    """Ask the living processes to end, then end them; whether none is left."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in sorted(living()):  # a shell before what it waits for, so that it begins nothing more
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                os.kill(process, sign)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if not any(True for _ in living()):
                return True
            time.sleep(0.05)
    return False


def _locked(file: int) -> bool:
    """Lock an open file for us alone; whether nobody else had locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(file: Path) -> list[int]:
    """The processes of this machine that hold a lock on a file, as far as we may see them."""
    with file.open() as stream:
        if _locked(stream.fileno()):
            return []
    wanted, found = file.stat(), []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            opened = [entry.stat() for entry in folder.iterdir()]
        except OSError:  # another user's, or ended meanwhile
            continue
        if any((entry.st_dev, entry.st_ino) == (wanted.st_dev, wanted.st_ino) for entry in opened):
            found.append(int(folder.parent.name))
    return found


def _read(record: Path) -> dict[str, object]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
