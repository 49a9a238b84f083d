"""What every workflow script does around its one function: log, thread count, one-line errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tilecast.errors import TilecastError


@contextlib.contextmanager
def _logged(log: str | None) -> Iterator[None]:
    if log is None:
        yield
        return
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("w", buffering=1, encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        yield


def run_step(function: Callable[..., None], snakemake: Any, /, **arguments: Any) -> None:
    """Call `function(**arguments)` as one job: prints go to the rule's log, bad input is one line on stderr.

    The thread count of numerical libraries follows the rule's `threads`. SystemExit(1) after a TilecastError.
    """
    log = str(snakemake.log[0]) if snakemake.log else None
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(snakemake.threads)
    try:
        with _logged(log):
            function(**arguments)
    except TilecastError as error:
        if log is not None:
            with Path(log).open("a", encoding="utf-8") as stream:
                stream.write(f"error: {error}\n")
        print(f"tilecast: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
