"""The cores shared out among the processes that run these tests."""

from __future__ import annotations

import os

# Else each of two processes on two cores computes with two threads, and these wait for each other.
if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))
