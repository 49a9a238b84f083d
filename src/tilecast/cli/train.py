"""`tilecast train`: train predictors on measured kernels, the artifact's or your own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from tilecast.api.work import torch_needed
from tilecast.artifact.kernels import read_kernels as read_artifact
from tilecast.artifact.names import KERNELS_TRAIN
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.limits import option
from tilecast.base.paths import DEVICES
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices, load_device
from tilecast.measure.describe import DESCRIPTION, device_of, read_description
from tilecast.measure.store import training_kernels
from tilecast.predict.kernel import MEASURED_FAMILIES
from tilecast.predict.registry import NETWORKS, TRAINED, takes_artifact_figures
from tilecast.tables.declared.artifact import KERNELS
from tilecast.tables.io import read

OPERATIONS = (
    "bmm", "linear", "softmax", "ln", "add", "addu", "mul", "mulu", "pow", "powu", "div", "divu", "tanh", "relu",
    "gelu",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    words = "measured kernels: kernels-001.parquet of `tilecast measure` or a folder of such, a .parquet or .csv "
    words += "`kernels` table, or the artifact's layout (<op>/<torch version>/<device>.csv anywhere below it)"
    parser.add_argument("--data", required=True, metavar="PATH", help=words)
    parser.add_argument("--predictor", choices=TRAINED, action="append", help="repeatable (default: tilecast)")
    parser.add_argument("--output", default="results/predict/trained", metavar="DIR", help="a folder a predictor")
    parser.add_argument("--devices", default=str(DEVICES), metavar="DIR", help="YAML files of the GPUs measured")
    parser.add_argument("--seed", type=option("seed"), default=0)
    words = "neusight, habitat: so many trainings (odd), seeds from --seed on; the median by validation is kept"
    parser.add_argument("--seeds", type=option("seeds"), default=1, metavar="N", help=words)


def run(args: argparse.Namespace) -> int:
    """Read kernels and devices, train, say where the weights lie."""
    kernels = read_kernels(Path(args.data))
    if args.seed < 0:
        raise InputError("--seed", f"{args.seed} is below zero")
    chosen = args.predictor or ["tilecast"]
    if args.seeds < 1 or args.seeds % 2 == 0:
        raise InputError("--seeds", f"{args.seeds} trainings have no median one", "an odd number")
    if args.seeds > 1 and (other := [name for name in chosen if name not in NETWORKS]):
        raise InputError("--seeds", f"is of {' and '.join(NETWORKS)} alone, not of {other[0]}")
    with torch_needed("train"):
        from tilecast.predict.train.baselines import train, train_seeds
    for name in chosen:
        folder, found = Path(args.output) / name, known_devices(name, Path(args.devices), Path(args.data))
        if args.seeds > 1:
            seeds = range(args.seed, args.seed + args.seeds)
            print(train_seeds(name, kernels, found, folder, seeds, progress=_progress))
        else:
            train(name, kernels, found, folder, args.seed, progress=_progress)
        _progress("")
        gpus = kernels["device"].nunique()
        print(f"{name}: trained on {len(kernels)} kernels of {gpus} GPU{'s' * (gpus > 1)}; weights in {folder}")
    return 0


def _progress(line: str) -> None:
    """One line, rewritten where a person watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr)


def read_kernels(data: Path) -> pd.DataFrame:
    """The training kernels of measured runs, of a table, or of the artifact's files below a folder."""
    if runs := _measured(data):
        table = training_kernels(runs)
        table = table[table["family"].isin(MEASURED_FAMILIES)]
    elif data.is_dir():
        table = _folder(data)
    elif data.suffix in (".parquet", ".csv"):
        table = read(data, KERNELS)
    else:
        raise InputError(data, "is neither a folder nor a .parquet or .csv table", "name one of them")
    table = table[table["split"] == "train"]
    if table.empty:
        remedy = "expected kernels timed in fp32, or <op>/<torch version>/<device>.csv below it"
        raise InputError(data, "holds no kernels to train on", remedy)
    return table


def _measured(data: Path) -> list[Path]:
    """The runs of `tilecast measure` at a path: one, those of a device's folder, or of the folders below."""
    if data.is_dir():
        return sorted(path for found in ("", "*/") for path in data.glob(f"{found}kernels-*.parquet"))
    return [data] if data.suffix == ".parquet" and data.with_suffix(".json").is_file() else []


def _collected(data: Path) -> list[Path]:
    """The artifact's files of kernels below a folder."""
    return [path for path in sorted(data.rglob("*.csv")) if path.parent.parent.name in OPERATIONS]


def _folder(data: Path) -> pd.DataFrame:
    files = {KERNELS_TRAIN + "/".join(path.parts[-3:]): path.read_bytes() for path in _collected(data)}
    try:
        return read_artifact(files)
    except TilecastError as error:  # the reader knows the files by the artifact's paths
        raise TilecastError(str(error).replace(KERNELS_TRAIN, f"{data}/")) from None


def known_devices(predictor: str, folder: Path, data: Path) -> dict[str, Device]:
    """Specifications of a folder's YAML files, of the artifact's JSON files beside its kernels, and as measured.

    Where the first two differ, a folder that is not the shipped one counts, else the figures that the predictor is
    asked with; a measured description goes before both.
    """
    places = {place for path in _collected(data) for place in path.parents if place.is_relative_to(data)}
    places |= {data, *data.parents[:2]}
    files = sorted({path for place in places for path in place.glob("device_configs/*.json")})
    stated, made = {device.name: device for device in map(load_device, files)}, dict(devices(folder))
    found = made | stated if takes_artifact_figures(predictor) and folder == DEVICES else stated | made
    for path in sorted({run.with_name(DESCRIPTION) for run in _measured(data)}):
        description = read_description(path)
        found[description["name"]] = device_of(description, path)
    return found
