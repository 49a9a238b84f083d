"""Fetch the artifact from the first source that can serve, every file verified against the lock."""

import signal
import sys
from pathlib import Path

from tilecast.artifact.fetch import Source, fetch
from tilecast.base.job import run_step


def fetch_artifact(
    lock: str,
    archive: str,
    record: str,
    repository: str,
    commit: str,
    sources: list[Source],
    mirror: str | None,
    timeout_s: int,
    attempts: int,
) -> None:
    # A cancelled job ends as an exception does: git's process group is killed, half-written files are removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    fetch(
        lock,
        archive,
        record,
        repository=repository,
        commit=commit,
        sources=sources,
        mirror=None if mirror is None else Path(mirror),
        timeout_s=timeout_s,
        attempts=attempts,
    )


if __name__ == "__main__":
    run_step(
        fetch_artifact,
        snakemake,
        lock=snakemake.input.lock,
        archive=snakemake.output.archive,
        record=snakemake.output.record,
        repository=snakemake.params.repository,
        commit=snakemake.params.commit,
        sources=snakemake.params.sources,
        **snakemake.params.place,
    )
