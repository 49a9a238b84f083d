"""Names of the artifact's folders and files."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

from tilecast.base.errors import InputError

ROOT = "scripts/asplos/"
LABELS = ROOT + "label/"
PREDICTIONS = ROOT + "results/prediction/"
GRAPHS = ROOT + "results/opgraph/"
SUMMARIES = ROOT + "summary/"
DEVICES = ROOT + "data/device_configs/"
MODELS = ROOT + "data/DLmodel_configs/"
KERNELS = ROOT + "data/dataset/"
KERNELS_TRAIN = KERNELS + "train/collect/"
KERNELS_TEST = KERNELS + "test/"
AMD = ROOT + "data/dataset_amd/"
TRAINING_DEVICES = (KERNELS + "train/device_configs/", AMD + "train/device_configs/")

_MODES = {"inf": "inference", "train": "training"}
_CELL = re.compile(
    r"(?P<model>[a-z0-9]+(?:_[a-z0-9]+)?)-(?P<mode>inf|train)-(?P<sequence>[1-9]\d*)-(?P<batch>[1-9]\d*)"
    r"(?:-(?P<option>fusion|dp4|tp4|pp4_[14]))?"
)


class Workload(NamedTuple):
    """What a file of the artifact is about, apart from the device."""

    model: str
    mode: str
    sequence_length: int
    batch_size: int
    option: str


def workload(path: str) -> Workload:
    """Read `gpt2_large-train-1024-4-dp4.json` as (gpt2_large, training, 1024, 4, dp4)."""
    found = _CELL.fullmatch(PurePosixPath(path).stem)
    if found is None:
        problem = "is not named <model>-<inf|train>-<sequence length>-<batch size>[-<option>]"
        raise InputError(path, problem, "see the artifact")
    sequence, batch = int(found["sequence"]), int(found["batch"])
    return Workload(found["model"], _MODES[found["mode"]], sequence, batch, found["option"] or "none")


def file_stem(work: Workload) -> str:
    """The artifact's file name of a workload, without its ending."""
    mode = {long: short for short, long in _MODES.items()}[work.mode]
    stem = f"{work.model}-{mode}-{work.sequence_length}-{work.batch_size}"
    return stem if work.option == "none" else f"{stem}-{work.option}"


def predictor_of(folder: str) -> str:
    """The predictor whose results a folder holds; `micro` is the linear regression of Li et al. (MICRO 2023)."""
    return f"{'li' if folder == 'micro' else folder}_published"


def device_of(name: str) -> str:
    """The folder name of a device whose name a file spells with spaces."""
    return name.replace(" ", "_")


def kernel_file(path: str) -> tuple[str, str] | None:
    """(operation, train or test) of a file of kernel timings; None for a file that holds none.

    Convolutions are left out: no forecaster here has them. Of the held-out files vec.csv and habitat.csv are too:
    they repeat elem.csv, softmax.csv and ln.csv row by row.
    """
    if not path.endswith(".csv"):
        return None
    if path.startswith(KERNELS_TRAIN):
        # <op>/<torch version>/<device>.csv; <op>.csv beside the folders merges them
        parts = path.removeprefix(KERNELS_TRAIN).split("/")
        return (parts[0], "train") if len(parts) == 3 and parts[0] != "conv" else None
    if path.startswith(KERNELS_TEST) and "/" not in path.removeprefix(KERNELS_TEST):
        name = PurePosixPath(path).stem
        return (name, "test") if name not in ("vec", "habitat", "conv") else None
    return None
