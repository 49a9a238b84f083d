"""Runs of the smoke workflow (smoke.smk) in a folder of their own, and what happens to them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from copies import ROOT, Copy

LEFT_BEHIND = ".*-????????.*"  # what a killed writer leaves beside its file


def smoke(folder: Path, **environment: str) -> Copy:
    """A folder in which `snakemake(*arguments(...))` runs the smoke workflow; nothing is copied."""
    folder.mkdir(parents=True, exist_ok=True)
    return Copy(folder, {"TILECAST_MIRROR": ""} | environment)  # transcribed figures, wherever a job runs


def arguments(*further: str, tree: Path = ROOT, profile: str = "default") -> list[str]:
    """Snakemake's arguments for the smoke workflow of a working tree."""
    workflow = ["--snakefile", str(tree / "tests/support/smoke.smk")]
    return [*workflow, "--workflow-profile", str(tree / "profiles" / profile), *further]


def begin(copy: Copy, *words: str) -> subprocess.Popen[str]:
    """Start snakemake with these arguments in a process group of its own; what it says can be read."""
    return started(copy, [sys.executable, "-m", "snakemake", *words], subprocess.PIPE)


def started(copy: Copy, command: Sequence[str], output: int | IO[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as from a terminal: an interrupt is not ignored."""
    return subprocess.Popen(
        command,
        cwd=copy.root,
        env=copy.variables(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def left_behind(copy: Copy) -> list[str]:
    """Temporary files that are still there."""
    return sorted(path.name for path in (copy.root / "results").rglob(LEFT_BEHIND))


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Return as soon as `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
