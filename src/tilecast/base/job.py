"""Run the one function of a workflow script: with its log, its thread count, and errors in one line."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tilecast.base.errors import TilecastError

# What the machine can refuse at any write; not the fault of a line of code.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def run_step(function: Callable[..., None], snakemake: Any, /, **arguments: Any) -> None:
    """Call `function(**arguments)` as one job: prints go to the rule's log, bad input is one line on stderr.

    The thread count of numerical libraries follows the rule's `threads`. SystemExit(1) after a TilecastError or
    a disk that is full or read-only, SystemExit(130) after Ctrl-C or SIGTERM; half-written files are gone by then.
    """
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)  # see workflow/site
    log = Path(snakemake.log[0]) if snakemake.log else None
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(snakemake.threads)
    try:
        with contextlib.ExitStack() as opened:
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                stream = opened.enter_context(log.open("w", buffering=1, encoding="utf-8"))
                opened.enter_context(contextlib.redirect_stdout(stream))
            function(**arguments)
        if getattr(sys.modules["__main__"], "snakemake", None) is snakemake:
            _leave()
        return
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except TilecastError as error:
        problem = str(error)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        problem = f"{error.filename or log}: {error.strerror}"
    if log is not None:
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as stream:
            stream.write(f"error: {problem}\n")
    print(f"tilecast: error: {problem}", file=sys.stderr)
    raise SystemExit(1)


def _leave() -> None:
    """End the process of a finished job at once: taking apart what it imported costs a quarter of a second."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
