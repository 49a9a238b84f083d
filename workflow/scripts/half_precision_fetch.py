"""Fetch the wheel of kernel timings, verified against its lock; an empty archive where there is no network."""

import signal
import sys

from tilecast.artifact.aiconfigurator import fetch
from tilecast.base.job import run_step


def half_precision_fetch(lock: str, archive: str, record: str, timeout_s: float) -> None:
    # A cancelled job ends as an exception does: pip's process group is killed, half-written files are removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    fetch(lock, archive, record, timeout_s=timeout_s)


if __name__ == "__main__":
    run_step(
        half_precision_fetch,
        snakemake,
        lock=snakemake.input.lock,
        archive=snakemake.output.archive,
        record=snakemake.output.record,
        **snakemake.params.wait,
    )
