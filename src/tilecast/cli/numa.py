"""`tilecast numa`: this host's topology, a study's runs, and what existing profiles say."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from tilecast.api.text import text_table
from tilecast.api.work import check_table
from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.locality.analysis import analyse_folder, profiles_in
from tilecast.locality.study import cells, load_study, manifest
from tilecast.locality.topology import read_topology
from tilecast.tables.declared.locality import ANALYSIS, MANIFEST
from tilecast.tables.io import write

_SHOWN = {  # heading -> column, digits, divided by
    "batches": ("batches", 0, 1),
    "batch ms": ("batch_p50_ms", 3, 1),
    "p99 ms": ("batch_p99_ms", 3, 1),
    "in GB/s": ("h2d_p50_bytes_per_s", 2, 1e9),
    "out GB/s": ("d2h_p50_bytes_per_s", 2, 1e9),
    "kernels ms": ("kernel_ms", 2, 1),
    "overlap %": ("overlap_percent", 1, 1),
    "busy %": ("busy_percent", 1, 1),
    "samples/s": ("profiled_per_s", 0, 1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    analyze = actions.add_parser("analyze", help="measures of the profiles in a folder")
    words = "holds .nsys-rep, .sqlite or torch's .json files named as the study names them"
    analyze.add_argument("folder", help=words)
    analyze.add_argument("--batch", type=option("batch"), default=10, help="samples a batch (default: 10)")
    analyze.add_argument("--output", metavar="FILE", help="write every measure as CSV or Parquet")
    words = "nodes and GPUs of this host, and whether locality can be tested"
    actions.add_parser("topology", help=words).add_argument("--json", action="store_true", help="print JSON")
    plan = actions.add_parser("plan", help="the runs of a study")
    plan.add_argument("study", help="a name of config/studies/numa, or a YAML file")
    plan.add_argument("--output", metavar="FILE", help="write the manifest as CSV")


def run(args: argparse.Namespace) -> int:
    """Do the action; 1 where a profile could not be read, after all the others have been."""
    return {"analyze": _analyze, "topology": _topology, "plan": _plan}[args.action](args)


def _analyze(args: argparse.Namespace) -> int:
    if args.batch < 1:
        raise InputError("--batch", f"{args.batch} samples", "give a number above zero")
    rows = analyse_folder(profiles_in(Path(args.folder)), args.batch)
    good = [row for row in rows if row["status"] == "ok"]
    if args.output:
        check_table(args.output)
        write(pd.DataFrame(rows, columns=list(ANALYSIS.columns)), args.output, ANALYSIS)
    shown = (
        [
            row["cell"],
            *(
                "none" if row[name] is None else f"{row[name] / by:,.{digits}f}"
                for name, digits, by in _SHOWN.values()
            ),
        ]
        for row in good
    )
    print("\n".join(text_table({"cell": "<", **dict.fromkeys(_SHOWN, ">12")}, shown)))
    for row in rows:
        if row["status"] != "ok":
            print(f"tilecast: error: {row['reason']}", file=sys.stderr)
    print(f"{len(good)} of {len(rows)} profiles analysed", file=sys.stderr)
    return 0 if len(good) == len(rows) else 1


def _topology(args: argparse.Namespace) -> int:
    found = read_topology()
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    for node in found["nodes"]:
        print(f"node {node['node']}: CPUs {node['cpus']}, {node['memory_bytes'] / 2**30:.1f} GiB")
    for gpu in found["gpus"]:
        node = f"node {gpu['node']}" if gpu["node"] >= 0 else "node unknown"
        print(f"GPU {gpu['gpu']}: {gpu['name']}, {gpu['pci_address']}, {node}, x{gpu['link_width']} links")
    print(f"locality: {found['verdict']}")
    return 0


def _plan(args: argparse.Namespace) -> int:
    study = load_study(args.study)
    chosen, rejected = cells(study)
    if args.output:
        write(pd.DataFrame(manifest(Path(args.study).stem, study)), args.output, MANIFEST)
    for cell in chosen:
        print(cell.name)
    for repeated in rejected:
        print(f"rejected: {repeated}", file=sys.stderr)
    print(f"{len(chosen)} cells, {study.repetitions} repetitions of each", file=sys.stderr)
    return 0
