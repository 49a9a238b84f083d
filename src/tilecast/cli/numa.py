"""`tilecast numa`: this host's topology, a study's runs, and what existing profiles say."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.tables.declared.locality import ANALYSIS, MANIFEST

_SHOWN = (  # column, heading, digits, divided by
    ("batches", "batches", 0, 1),
    ("batch_p50_ms", "batch ms", 3, 1),
    ("batch_p99_ms", "p99 ms", 3, 1),
    ("h2d_p50_bytes_per_s", "in GB/s", 2, 1e9),
    ("d2h_p50_bytes_per_s", "out GB/s", 2, 1e9),
    ("kernel_ms", "kernels ms", 2, 1),
    ("overlap_percent", "overlap %", 1, 1),
    ("busy_percent", "busy %", 1, 1),
    ("profiled_per_s", "samples/s", 0, 1),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    analyze = actions.add_parser("analyze", help="measures of the profiles in a folder")
    analyze.add_argument(
        "folder", help="holds .nsys-rep, .sqlite or torch's .json files named as the study names them"
    )
    analyze.add_argument("--batch", type=option("batch"), default=10, help="samples a batch (default: 10)")
    analyze.add_argument("--output", metavar="FILE", help="write every measure as CSV or Parquet")
    topology = actions.add_parser(
        "topology", help="nodes and GPUs of this host, and whether locality can be tested"
    )
    topology.add_argument("--json", action="store_true", help="print JSON")
    plan = actions.add_parser("plan", help="the runs of a study")
    plan.add_argument("study", help="a name of config/studies/numa, or a YAML file")
    plan.add_argument("--output", metavar="FILE", help="write the manifest as CSV")


def run(args: argparse.Namespace) -> int:
    """Do the action; 1 where a profile could not be read, after all the others have been."""
    if args.action == "topology":
        return _topology(args.json)
    return _plan(args) if args.action == "plan" else _analyze(args)


def _analyze(args: argparse.Namespace) -> int:
    import pandas as pd

    from tilecast.locality.analysis import analyse_folder, profiles_in
    from tilecast.tables.io import write

    if args.batch < 1:
        raise InputError("--batch", f"{args.batch} samples", "give a number above zero")
    rows = analyse_folder(profiles_in(Path(args.folder)), args.batch)
    good = [row for row in rows if row["status"] == "ok"]
    if args.output:
        if Path(args.output).suffix not in (".parquet", ".csv"):
            raise InputError(args.output, "is neither .parquet nor .csv", "name one of them")
        write(pd.DataFrame(rows, columns=list(ANALYSIS.columns)), args.output, ANALYSIS)
    width = max([len(row["cell"]) for row in good] or [4])
    print(f"{'cell':{width}}" + "".join(f"{heading:>12}" for _, heading, _, _ in _SHOWN))
    for row in good:
        print(f"{row['cell']:{width}}" + "".join(_number(row[name], digits, by) for name, _, digits, by in _SHOWN))
    for row in rows:
        if row["status"] != "ok":
            print(f"tilecast: error: {row['reason']}", file=sys.stderr)
    print(f"{len(good)} of {len(rows)} profiles analysed", file=sys.stderr)
    return 0 if len(good) == len(rows) else 1


def _number(value: Any, digits: int, by: float) -> str:
    return f"{'none' if value is None else f'{value / by:,.{digits}f}':>12}"


def _topology(as_json: bool) -> int:
    from tilecast.locality.topology import read_topology

    found = read_topology()
    if as_json:
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
    from tilecast.locality.study import cells, load_study, manifest

    study = load_study(args.study)
    chosen, rejected = cells(study)
    name = Path(args.study).stem
    if args.output:
        import pandas as pd

        from tilecast.tables.io import write

        write(pd.DataFrame(manifest(name, study)), args.output, MANIFEST)
    for cell in chosen:
        print(cell.name)
    for repeated in rejected:
        print(f"rejected: {repeated}", file=sys.stderr)
    print(f"{len(chosen)} cells, {study.repetitions} repetitions of each", file=sys.stderr)
    return 0
