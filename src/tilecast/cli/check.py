"""`tilecast check`: whether the results are still what the run made."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from tilecast.tables.results import FOREIGN, problems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, metavar="results", help="the folder that a whole run made")


def run(args: argparse.Namespace) -> int:
    """One line for each file that is not as the run left it, and how to make it anew; exit code 1 if any."""
    found = problems(args.folder)
    for name, problem in found:
        print(f"{args.folder / name}: {problem}")
    if not found:
        print(f"{args.folder}: every file is as the run made it")
        return 0
    bad = [str(args.folder / name) for name, problem in found if problem != FOREIGN]
    if bad:
        print(f"made anew by: snakemake --cores all --force {shlex.join(bad)} && make reproduce", file=sys.stderr)
    if len(bad) < len(found):
        print("what is foreign stays until you move it", file=sys.stderr)
    return 1
