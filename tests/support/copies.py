"""Copies of the working tree in which tests run the workflow."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPRODUCE = ("make", "reproduce")


@dataclass(frozen=True)
class Run:
    """What one call of snakemake did."""

    code: int
    output: str
    seconds: float

    @property
    def rules(self) -> set[str]:
        """The rules it executed; in a dry run, those it would execute."""
        found = set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", self.output, re.MULTILINE))
        return found - {"all", "crate", "manifest"}  # these follow whatever runs


@dataclass(frozen=True)
class Copy:
    """A copy of the working tree, to run the workflow in."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def snakemake(self, *arguments: str, cores: int = 2, fails: bool = False, **environment: str) -> Run:
        """Run snakemake here; it has to succeed, or to fail where `fails` says so."""
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments]
        return self.run(command, fails=fails, **environment)

    def reproduce(self, fails: bool = False, **environment: str) -> Run:
        """The command of the README, in a copy that `literal` made ready for it."""
        return self.run(REPRODUCE, fails=fails, **environment)

    def run(self, command: Sequence[str], fails: bool = False, **environment: str) -> Run:
        """Run a command here; it has to succeed, or to fail where `fails` says so."""
        started = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.perf_counter() - started
        assert (done.returncode != 0) == fails, f"exit code {done.returncode}:\n{done.stdout[-8000:]}"
        return Run(done.returncode, done.stdout, seconds)

    def variables(self, **environment: str) -> dict[str, str]:
        """The environment of what runs here; one that is empty is not there."""
        # No test waits for a package index: the half-precision track runs as it does without a network.
        held = {"PIP_NO_INDEX": "1", **os.environ, **self.environment, **environment}
        return {name: value for name, value in held.items() if value}

    def would_run(self, *arguments: str) -> set[str]:
        """The rules that are stale now."""
        return self.snakemake("--dry-run", *arguments).rules

    def results(self, *stages: str) -> dict[str, bytes]:
        """Every result, or those of some stages, by path; logs and the list of results are none."""
        folder = self.root / "results"
        files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        chosen = {name: path for name, path in files.items() if name.parts[0] not in ("logs", "manifest.csv")}
        return {
            n.as_posix(): path.read_bytes() for n, path in chosen.items() if not stages or n.parts[0] in stages
        }

    @contextlib.contextmanager
    def edited(self, path: str, change: Callable[[str], str]) -> Iterator[None]:
        """Within the block the file has changed; afterwards content and time are as before."""
        file = self.root / path
        content, times = file.read_bytes(), file.stat()
        new = change(content.decode())
        assert new.encode() != content, f"{path}: the edit changes nothing"
        file.write_text(new)
        try:
            yield
        finally:
            file.write_bytes(content)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def without_results(copy: Copy, target: Path, **environment: str) -> Copy:
    """The same files as in `copy`, in a folder where nothing has run."""
    shutil.copytree(copy.root, target, ignore=shutil.ignore_patterns("results", ".snakemake", "__pycache__"))
    return Copy(target, environment)


def copy_files(target: Path) -> None:
    """Copy every file that git tracks, or would offer to add, into `target`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # tracked, but deleted
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def copy_tree(target: Path, **environment: str) -> Copy:
    """A copy of the working tree in which the network is not asked, and nothing is timed."""
    copy_files(target)
    config = target / "config/config.yaml"
    sources = "[mirror, published]" if os.environ.get("TILECAST_MIRROR") else "[published]"
    text = re.sub(r"sources: \[.*\]", f"sources: {sources}", config.read_text())
    config.write_text(text.replace("  mode: auto\n", "  mode: replay\n"))  # what is timed is never the same twice
    return Copy(target, environment)


def ready(folder: Path) -> None:
    """Make `make setup` of a copy take the environment of the tests for its own."""
    own = folder / ".venv"
    own.mkdir()
    for path in Path(sys.prefix).iterdir():
        (own / path.name).symlink_to(path)
    (own / ".ready").unlink(missing_ok=True)
    (own / ".ready").touch()


def literal(target: Path, small: bool = True, **environment: str) -> Copy:
    """A copy in which `make reproduce` has nothing to set up first; it runs the smoke workflow, where `small`."""
    chosen = {"PYTHONPATH": str(target / "src")}  # `make setup` would install the copy itself
    if small:
        chosen |= {"SNAKEMAKE_PROFILE": "tests/support/smoke", "TILECAST_MIRROR": ""}
    copy = copy_tree(target, **chosen | environment)
    (target / "results/README.md").unlink()  # it is no result
    ready(target)
    return copy
