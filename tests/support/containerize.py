"""What `snakemake --containerize` writes, with the tests' stand-in for conda: `python containerize.py [FILE]`.

Two things differ: the base image is given by the one who builds, by its digest, and the image's user is not root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from conda_standin import write_commands  # noqa: E402 - found by the line above

# What Snakemake puts first, and what stands there instead.
BASE = "FROM condaforge/miniforge3:latest\n"
HEAD = """# The base by its digest, to be had so (docs/develop/dependencies.md):
#   docker pull condaforge/miniforge3:latest
#   docker image inspect --format '{{index .RepoDigests 0}}' condaforge/miniforge3:latest
ARG MINIFORGE
FROM $MINIFORGE
"""
TAIL = """
RUN useradd --create-home tilecast
USER tilecast
"""


def containerize() -> str:
    """The Dockerfile with one conda environment for each file in envs/; nothing is installed, nothing is asked."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{write_commands(Path(folder) / 'conda')}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--containerize"],
            cwd=ROOT,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(BASE), "Snakemake has another base image now"
    return done.stdout.replace(BASE, HEAD, 1).rstrip("\n") + "\n" + TAIL


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "/dev/stdout").write_text(containerize())
