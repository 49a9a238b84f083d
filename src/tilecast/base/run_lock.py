"""Mark the folder a run works in, so that the lock left by a killed run can be removed."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from pathlib import Path

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_text

_MARKED: set[Path] = set()  # by this process: Snakemake may read its workflow twice


def claim(folder: Path, cluster: bool) -> str | None:
    """Mark `folder`, Snakemake's own, as in use until this process ends; the message for the user, if any.

    The mark is a shared lock of the operating system's, which goes with its holder. Where nobody else holds one,
    a lock of Snakemake's is a killed run's and is taken off: unless that run was another machine's, which may not
    see such marks, or a cluster's, whose jobs may outlive it.
    """
    if folder.absolute() in _MARKED:
        return None
    _MARKED.add(folder.absolute())
    ours = {"process": os.getpid(), "host": platform.node(), "cluster": cluster}
    record = folder / "tilecast-run.json"
    left = list((folder / "locks").glob("*.lock"))
    try:
        folder.mkdir(exist_ok=True)
        mark = os.open(folder / "tilecast-run", os.O_RDWR | os.O_CREAT, 0o644)  # held: closed by our end alone
        alone = True
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        before = _read(record)
        certain = alone and before.get("host") == ours["host"] and before.get("cluster") is False
        for file in left if certain else []:
            file.unlink()
        if certain or not left:
            write_text(record, json.dumps(ours, sort_keys=True) + "\n")
        fcntl.flock(mark, fcntl.LOCK_SH)
    except (OSError, TilecastError):  # a folder that cannot be written or marked: Snakemake's own lock has to do
        return None
    if not left:
        return None
    on = " of a cluster" if before.get("cluster") else ""
    run = f"a run{on} (process {before.get('process', '?')} on {before.get('host', 'an unknown machine')})"
    if certain:
        return f"{run} was killed; this one goes on from there"
    if alone:
        return f"{run} left a lock; when none of its jobs is left either: snakemake --unlock"
    return f"{run} is at work in this folder; wait for it, or end it"


def _read(record: Path) -> dict[str, object]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
