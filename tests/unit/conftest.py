"""The cores shared out among the processes that run these tests, and little time for garbage."""

from __future__ import annotations

import gc
import os

# By default all that torch and transformers keep is looked through again and again: a tenth of the time.
gc.set_threshold(100_000, 20, 20)


def pytest_collection_finish() -> None:
    """What the tests have imported is no garbage."""
    gc.freeze()


# Else each of two processes on two cores computes with two threads, and these wait for each other.
if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))
