"""Draws the four pictures of experts: systems and strategies, where prefetching wins, sensitivity, validation."""

from collections.abc import Mapping

import pandas as pd

from tilecast.base.job import run_step
from tilecast.present.figures import moe_cross_system, moe_tornado, moe_validation, moe_where
from tilecast.present.figures.style import save
from tilecast.tables.io import read

FORMS = ("svg", "pdf", "png", "data", "about")


def plot_moe(tables: Mapping[str, str], system: str, outputs: Mapping[str, Mapping[str, str]]) -> None:
    """One job, for what each picture takes is mostly the start of the job; `outputs`: the forms of each."""
    free = {name: pd.read_csv(path) for name, path in tables.items() if name != "systems"}
    save(moe_cross_system.draw(read(tables["systems"], "moe_systems")), **outputs["cross_system"])
    save(moe_where.draw(free["where"], system), **outputs["where"])
    save(moe_tornado.draw(free["tornado"], system), **outputs["tornado"])
    save(moe_validation.draw(free["alltoall"], free["anchors"]), **outputs["validation"])


if __name__ == "__main__":
    run_step(
        plot_moe,
        snakemake,
        tables={name: snakemake.input[name] for name in ("systems", "where", "tornado", "alltoall", "anchors")},
        system=snakemake.params.system,
        outputs={
            name: {form: snakemake.output[f"{name}_{form}"] for form in FORMS}
            for name in ("cross_system", "where", "tornado", "validation")
        },
    )
