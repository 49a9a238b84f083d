"""Draws the pictures the original study names: three of each system, and one of all."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from tilecast.base.files import atomic_path
from tilecast.base.job import run_step
from tilecast.present.figures import moe, moe_cross_system
from tilecast.tables.declared.moe import SYSTEMS
from tilecast.tables.io import read


def plot_moe_study(systems: str, names: Mapping[str, str], folder: str) -> None:
    """`names`: system -> the end of its figures' names."""
    table = read(systems, SYSTEMS)
    for system, end in names.items():
        for kind in moe.KINDS:
            _save(moe.one_system(table, system, kind), Path(folder) / f"{kind}_{end}")
    _save(moe_cross_system.draw(table).figure, Path(folder) / "cross_system_comparison")


def _save(figure: Figure, stem: Path) -> None:
    none = {"CreationDate": None, "Creator": None, "Producer": None}
    for kind, metadata in (("pdf", none), ("png", {"Software": None})):
        with atomic_path(f"{stem}.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)


if __name__ == "__main__":
    run_step(
        plot_moe_study,
        snakemake,
        systems=snakemake.input.systems,
        names=snakemake.params.names,
        folder=str(Path(snakemake.output[0]).parent),
    )
