"""Runs of the smoke workflow (smoke.smk) in a folder of their own, and what happens to them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

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
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *words],
        cwd=copy.root,
        env={**os.environ, **copy.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def killed_after(copy: Copy, seconds: float) -> tuple[int, str]:
    """Run the workflow and kill its whole process group at a moment; (exit code, output)."""
    process = begin(copy, "--cores", "2", *arguments())
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return process.returncode, output


def moments(count: int, seed: int, duration: float) -> list[float]:
    """Seeded moments, seconds after the start of a run that takes `duration` undisturbed."""
    draw = random.Random(seed)
    return [draw.uniform(0.02, 1.0) * duration for _ in range(count)]


def left_behind(copy: Copy) -> list[str]:
    """Temporary files that are still there."""
    return sorted(path.name for path in (copy.root / "results").rglob(LEFT_BEHIND))


def wait_for(condition: object, seconds: float = 120) -> None:
    """Return as soon as `condition()` holds."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
