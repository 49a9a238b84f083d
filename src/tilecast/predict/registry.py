"""Every predictor by its name, with the weights that come with the project or a folder of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tilecast.errors import InputError
from tilecast.hardware.device import Device, devices, devices_of_table
from tilecast.predict.base import Predictor

if TYPE_CHECKING:
    import pandas as pd

PRETRAINED = Path(__file__).resolve().parents[3] / "resources/pretrained"
PREDICTORS = ("tilecast", "neusight", "habitat", "li", "roofline")
BY_MAKERS_FIGURES = ("tilecast",)  # the artifact's own predictors take its device files, errors included


def specifications(predictor: str, table: pd.DataFrame) -> Mapping[str, Device]:
    """The devices of the artifact's `devices` table with the figures that the named predictor was trained on."""
    stated = devices_of_table(table)
    if predictor not in BY_MAKERS_FIGURES:
        return stated
    made = devices()
    return {name: made.get(name, device) for name, device in stated.items()}


def load_predictor(name: str, folder: str | Path | None = None) -> Predictor:
    """The named predictor, with the weights of `folder` where one is given."""
    if name not in PREDICTORS:
        raise InputError(name, "is no predictor", f"expected one of {', '.join(PREDICTORS)}")
    where = Path(folder) if folder is not None else PRETRAINED / name
    if name == "tilecast":
        from tilecast.predict.tilecast import Tilecast

        return Tilecast.load(where)
    if name == "neusight":
        from tilecast.predict.neusight import NeuSight

        return NeuSight.load(where)
    if name == "habitat":
        from tilecast.predict.habitat import Habitat

        return Habitat.load(where)
    if name == "li":
        from tilecast.predict.li import Li

        return Li.load(where)
    from tilecast.predict.roofline import Roofline

    return Roofline()
