"""`tilecast numa`: this host's topology, a study's runs, and what existing profiles say."""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.api.text import text_table
from tilecast.api.work import check_table, torch_needed
from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.locality.analysis import analyse_folder, profiles_in
from tilecast.locality.record import summary, write_study
from tilecast.locality.runner import run_study
from tilecast.locality.study import cells, manifest
from tilecast.locality.sweep import changed
from tilecast.locality.topology import given_topology, read_topology
from tilecast.locality.trouble import troubles
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
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    analyze = actions.add_parser("analyze", help="measures of the profiles in a folder")
    words = "holds .nsys-rep, .sqlite or torch's .json files named as the study names them"
    analyze.add_argument("folder", help=words)
    analyze.add_argument("--batch", type=option("batch"), default=10, help="samples a batch (default: 10)")
    analyze.add_argument("--output", metavar="FILE", help="write every measure as CSV or Parquet")
    words = "nodes and GPUs of this host, and whether locality can be tested"
    topology = actions.add_parser("topology", help=words)
    topology.add_argument("--json", action="store_true", help="print JSON")
    plan = actions.add_parser("plan", help="the runs of a study")
    plan.add_argument("--output", metavar="FILE", help="write the manifest as CSV")
    check = actions.add_parser("check", help="the guide's list of troubles, looked for before a study runs")
    measure = actions.add_parser("run", help="measure a study on this host; what was measured before is kept")
    for action in (plan, check, measure):
        words = "a name of config/studies/numa, or a YAML file; `experiment=` before it is the guide's way"
        action.add_argument("study", type=_study, help=words)
        words = "such as 'gpu_ids=[0,1]' samples=500 depth=2,4 memory_size_mb=6; lists are swept"
        action.add_argument("changes", nargs="*", metavar="KEY=VALUE", help=words)
    for action in (check, measure):
        action.add_argument(
            "--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: a GPU, if any"
        )
    measure.add_argument("--fresh", action="store_true", help="measure anew what was measured before")
    measure.add_argument(
        "--dated", action="store_true", help="a folder for each time: OUTPUT/<study>/<date>/<time>"
    )
    words = "folder of results (default: outputs)"
    measure.add_argument("--output", metavar="DIR", default="outputs", help=words)
    words = "folder that keeps each run (default: results/measured/numa)"
    measure.add_argument("--state", metavar="DIR", default="results/measured/numa", help=words)
    for action in (topology, check, measure):
        words = "a copy of another host's /sys, with its nvidia-smi.csv: the whole path without that host"
        action.add_argument("--sysfs", metavar="DIR", help=words)


def _study(text: str) -> str:
    return text.removeprefix("+").removeprefix("experiment=")


def run(args: argparse.Namespace) -> int:
    """Do the action; 1 where a profile could not be read, after all the others have been."""
    actions = {"analyze": _analyze, "topology": _topology, "plan": _plan, "check": _check, "run": _measure}
    return actions[args.action](args)


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
    found = _read(args)
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


def _read(args: argparse.Namespace) -> dict[str, Any]:
    return given_topology(Path(args.sysfs)) if args.sysfs is not None else read_topology()


def _plan(args: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    studies = changed(args.study, args.changes)
    for label, study in studies:
        chosen, rejected = cells(study)
        rows += manifest(_folder(args.study, label), study)
        for cell in chosen:
            print(f"{label}/{cell.name}" if label else cell.name)
        for repeated in rejected:
            print(f"rejected: {repeated}", file=sys.stderr)
        print(f"{len(chosen)} cells, {study.repetitions} repetitions of each", file=sys.stderr)
    if args.output:
        write(pd.DataFrame(rows), args.output, MANIFEST)
    return 0


def _folder(study: str, label: str) -> str:
    return Path(study).stem + (f"-{label}" if label else "")


def _check(args: argparse.Namespace) -> int:
    """Print each trouble; 1 where one would keep a run from being made."""
    topology, good = _read(args), True
    device = _device(args, topology)
    for label, study in changed(args.study, args.changes):
        for name, found in troubles(study, topology, device):
            print(f"{label + ' ' if label else ''}{name}: {found}")
            good = good and found.startswith(("ok", "none", "nsys is not"))
    return 0 if good else 1


def _device(args: argparse.Namespace, topology: dict[str, Any]) -> str:
    if args.sysfs is not None and args.device == "cuda":
        raise InputError("--sysfs", "is another host's, whose GPUs are not here", "take --device cpu")
    return "cpu" if args.sysfs is not None or (args.device == "auto" and not topology["gpus"]) else args.device


def _measure(args: argparse.Namespace) -> int:
    """Run each study of the sweep and write its folder; 1 where no run succeeded."""
    studies, topology = changed(args.study, args.changes), _read(args)
    device = _device(args, topology)
    with torch_needed("numa run"):
        import torch  # noqa: F401  # what every run needs
    now, succeeded = datetime.datetime.now(), 0
    for label, study in studies:
        name = _folder(args.study, label)
        raw = run_study(name, study, Path(args.state) / name, device, args.fresh, topology)
        output = Path(args.output) / name
        if args.dated:
            output = output / now.strftime("%Y-%m-%d") / now.strftime("%H-%M-%S")
        if (output / "measured.json").is_file():  # of an earlier run of this study
            shutil.rmtree(output)
        write_study(raw, Path(args.state) / name, output)
        said = summary(raw)
        ok = said["by_status"]["ok"]
        succeeded += ok
        print(f"{output}: {ok} of {said['runs']} runs succeeded; {said['locality']}", file=sys.stderr)
    return 0 if succeeded else 1
