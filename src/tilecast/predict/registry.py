"""Every predictor by its name, with the weights that come with the project or a folder of one's own."""

from __future__ import annotations

from pathlib import Path

from tilecast.errors import InputError
from tilecast.predict.base import Predictor

PRETRAINED = Path(__file__).resolve().parents[3] / "resources/pretrained"
PREDICTORS = ("tilecast", "neusight", "habitat", "li", "roofline")


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
