"""Every predictor by its name: those of this project, and an author's own class from a file or a module.

A predictor is a class with a `name` and `predict(kernels, device)`, see
`tilecast.predict.kernel.Predictor`. Its module is imported by name when it is loaded: a step depends on the
modules of the predictors it loads, not on all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import Device, devices_of_table

if TYPE_CHECKING:
    import pandas as pd

    from tilecast.predict.kernel import Predictor

PREDICTORS = {
    "tilecast": "tilecast.predict.tilecast:Tilecast",
    "neusight": "tilecast.predict.baselines.neusight:NeuSight",
    "habitat": "tilecast.predict.baselines.habitat:Habitat",
    "li": "tilecast.predict.baselines.li:Li",
    "roofline": "tilecast.predict.baselines.roofline:Roofline",
}
NETWORKS = ("neusight", "habitat")  # trained pass by pass from a seed
TRAINED = ("tilecast", "neusight", "habitat", "li")  # their classes load weights from a folder
INTERFACE = "docs/understand/predictors.md shows what a predictor has"
_RESERVED = ("logo",)  # the name of another table beside the predictors'
_VECTOR_KERNELS = {"elementwise": "add", "softmax": "softmax", "norm": "ln"}


def load_predictor(name: str, folder: str | Path | None = None, own: str | None = None) -> Predictor:
    """The named predictor, with weights of `folder` where one is given; `own` is an author's `module:Class`."""
    if name in PREDICTORS:
        kind = _class(PREDICTORS[name])
    elif own is None:
        raise InputError(name, "is no predictor", f"expected one of {', '.join(PREDICTORS)}")
    else:
        return _load_own(name, own)
    if name in TRAINED and folder is None:
        return kind.load(WEIGHTS / name)
    try:
        loaded: Predictor = kind.load(Path(folder or "")) if name in TRAINED else kind()
        _attempt(loaded)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"holds no trained {name} ({shown(str(error))})"
        raise InputError(str(folder), problem, "train it: `tilecast train`") from None
    return loaded


def takes_artifact_figures(name: str) -> bool:
    """Whether a predictor is trained and asked with the artifact's device files, errors included."""
    return bool(getattr(_class(PREDICTORS[name]), "artifact_figures", False))


def specifications(predictor: Predictor, table: pd.DataFrame, files: Iterable[str] = ()) -> dict[str, Device]:
    """The devices of a `devices` table with the figures that the predictor was trained on.

    A class with `artifact_figures` takes them as they are, errors included; any other the makers' own,
    of data/devices and of an author's device `files`.
    """
    from tilecast.hardware.device_file import devices, load_device

    stated = devices_of_table(table)
    if getattr(predictor, "artifact_figures", False):
        return stated
    made = devices() | {device.name: device for device in map(load_device, files)}
    return {name: made.get(name, device) for name, device in stated.items()}


def check_own(own: Mapping[str, str]) -> None:
    """Load every predictor of an author's: the first whose name is taken, or that cannot forecast, is refused."""
    for name, where in own.items():
        if name in (*PREDICTORS, *_RESERVED):
            raise InputError(f"`predictor.own.{name}`", "the name is taken", "choose another one")
        _load_own(name, where)


def source_file(where: str) -> Path:
    """The Python file of a `module:Class`, whose module is a path that ends in .py or a dotted name."""
    module = where.rpartition(":")[0]
    if module.endswith(".py"):
        file = Path(module)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.origin:
            raise InputError(
                where, f"no module {module} is installed", "give a file that ends in .py, or install it"
            )
        file = Path(spec.origin)
    try:
        found = file.is_file()
    except OSError:  # a name longer than a file's may be
        found = False
    if not found:
        raise InputError(where, f"the file {file} does not exist", "paths start at the working directory")
    return file


def _load_own(name: str, where: str) -> Predictor:
    source_file(where)
    try:
        predictor: Predictor = _class(where)()
        _attempt(predictor)
    except Exception as error:  # an author's code may fail in any way
        problem = f"the predictor {name} cannot be loaded ({type(error).__name__}: {error})"
        raise InputError(where, problem, INTERFACE) from None
    if predictor.name != name:
        problem = f"the class names itself {shown(predictor.name)}, the configuration names it {name}"
        raise InputError(where, problem, "use one name")
    return predictor


def _class(where: str) -> Any:
    """The class that a `module:Class` names."""
    module, _, name = where.rpartition(":")
    if not module.endswith(".py"):
        return getattr(importlib.import_module(module), name)
    file = source_file(where)
    spec = importlib.util.spec_from_file_location(f"predictor_{file.stem}", file)
    assert spec is not None and spec.loader is not None  # of any file that ends in .py
    loaded = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, name)


def _attempt(predictor: Predictor) -> None:
    """Forecast a kernel of each family, so that what cannot forecast is known when it is loaded."""
    import numpy as np
    import pandas as pd

    from tilecast.hardware.device_file import load_device
    from tilecast.predict.kernel import FORECAST_COLUMNS

    sizes = {"b": 4, "m": 64, "n": 0, "k": 0, "dtype": "fp32", "phase": "forward"}
    kernels = pd.DataFrame(
        [
            *(sizes | {"family": family, "op": family, "n": 64, "k": 64} for family in ("linear", "bmm")),
            *(sizes | {"family": family, "op": op} for family, op in _VECTOR_KERNELS.items()),
        ]
    )
    try:
        forecast = predictor.predict(kernels, load_device("V100"))
    except InputError:  # it forecasts no GPU it was not trained on, or not every family, and says so when asked
        return
    if len(forecast) != len(kernels):
        raise ValueError(f"{len(forecast)} forecasts of {len(kernels)} kernels")
    missing = [column for column in FORECAST_COLUMNS if column not in forecast]
    if missing:
        raise ValueError(f"its forecasts have no column {missing[0]}")
    if not np.isfinite(forecast["latency_ms"].to_numpy(dtype=float)).all():
        raise ValueError("its forecasts are no numbers")
