"""`tilecast import`: somebody else's measurements, from their bundle, checked before anything is kept."""

from __future__ import annotations

import argparse
from pathlib import Path

from tilecast.measure.bundle import import_measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a bundle (tilecast bundle make)")
    parser.add_argument("--into", type=Path, default=Path("resources/measured"), metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Check, copy, say what is new."""
    new = import_measured(args.file, args.into)
    for name in new:
        print(args.into / name)
    print(f"{len(new)} new files" if new else "nothing new: all of it is here already")
    return 0
