"""`tilecast bundle`: results as one archive to send."""

from __future__ import annotations

import argparse
from pathlib import Path

from tilecast.measure.bundle import collect, devices_of, make, verify

TARGET = Path("build/tilecast-results.tar.gz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    made = commands.add_parser("make", help="pack finished results and measurements")
    made.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    made.add_argument("--measured", type=Path, default=Path("resources/measured"), metavar="DIR", help="kept ones")
    made.add_argument("--output", type=Path, default=TARGET, metavar="FILE", help=f"default: {TARGET}")
    check = commands.add_parser("verify", help="check every file of a bundle")
    check.add_argument("file", type=Path)


def run(args: argparse.Namespace) -> int:
    """Make or verify."""
    if args.what == "make":
        files = collect(args.results, {"replayed": args.measured, "live": args.results / "measured"})
        make(files, args.output)
    path = args.output if args.what == "make" else args.file
    files = verify(path)  # a bundle just made is checked like any other
    named = ", ".join(devices_of(files)) or "none"
    print(f"{path}: {len(files)} files, all as its manifest says; measured devices: {named}")
    return 0
