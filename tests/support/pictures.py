"""Saving a figure in every form, as the workflow does."""

from __future__ import annotations

from pathlib import Path

from tilecast.present.figures.catalog import FORMS
from tilecast.present.figures.style import Picture
from tilecast.present.figures.style import save as save_as


def save(picture: Picture, folder: Path, name: str = "figure") -> dict[str, Path]:
    """Write every form of the figure into the folder; the path of each form."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {form: folder / f"{name}.{ending}" for form, ending in FORMS.items()}
    save_as(picture, **{form: str(path) for form, path in paths.items()})
    return paths
