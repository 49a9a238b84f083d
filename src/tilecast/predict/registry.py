"""Every predictor by its name, with the weights that come with the project or a folder of one's own."""

from __future__ import annotations

from pathlib import Path

from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.device import load_device
from tilecast.predict.kernel import Predictor

_VECTOR_KERNELS = {"elementwise": "add", "softmax": "softmax", "norm": "ln"}
PREDICTORS = ("tilecast", "neusight", "habitat", "li", "roofline")


def load_predictor(name: str, folder: str | Path | None = None) -> Predictor:
    """The named predictor, with the weights of `folder` where one is given."""
    if name not in PREDICTORS:
        raise InputError(name, "is no predictor", f"expected one of {', '.join(PREDICTORS)}")
    if folder is None:
        return _load(name, WEIGHTS / name)
    try:
        loaded = _load(name, Path(folder))
        _attempt(loaded)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"holds no trained {name} ({shown(str(error))})"
        raise InputError(folder, problem, "train it: `tilecast train`") from None
    return loaded


def _attempt(predictor: Predictor) -> None:
    """Forecast a kernel of each family, so that weights which do not fit together are known when they are read."""
    import numpy as np
    import pandas as pd

    sizes = {"b": 4, "m": 64, "n": 0, "k": 0, "dtype": "fp32", "phase": "forward"}
    kernels = pd.DataFrame(
        [
            *(sizes | {"family": family, "op": family, "n": 64, "k": 64} for family in ("linear", "bmm")),
            *(sizes | {"family": family, "op": op} for family, op in _VECTOR_KERNELS.items()),
        ]
    )
    latency = predictor.predict(kernels, load_device("V100"))["latency_ms"].to_numpy(dtype=float)
    if not np.isfinite(latency).all():
        raise ValueError("its forecasts are no numbers")


def _load(name: str, where: Path) -> Predictor:
    """The named predictor from a folder."""
    if name == "tilecast":
        from tilecast.predict.tilecast import Tilecast

        return Tilecast.load(where)
    if name == "neusight":
        from tilecast.predict.baselines.neusight import NeuSight

        return NeuSight.load(where)
    if name == "habitat":
        from tilecast.predict.baselines.habitat import Habitat

        return Habitat.load(where)
    if name == "li":
        from tilecast.predict.baselines.li import Li

        return Li.load(where)
    from tilecast.predict.baselines.roofline import Roofline

    return Roofline()
