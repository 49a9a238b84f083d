"""Computes the study of experts on several GPUs, what its result depends on, and how its model fares elsewhere."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.evaluate.experts import all_to_all, all_to_all_errors, anchors, gains
from tilecast.moe.names import STRATEGIES
from tilecast.moe.sensitivity import tornado, where_it_pays
from tilecast.moe.study import load_study
from tilecast.moe.tables import details, layouts_table, models_table, systems_table
from tilecast.tables.declared.moe import (
    ALLTOALL,
    ALLTOALL_ERRORS,
    ALLTOALL_MEASUREMENTS,
    ANCHORS,
    GAINS,
    LAYOUTS,
    MODELS,
    OVERLAP,
    SYSTEMS,
    TORNADO,
    WHERE,
)
from tilecast.tables.io import read, write


def moe_study(
    study: str,
    measured: str,
    stated: str,
    overlap: Iterable[str],
    systems: Mapping[str, str],
    outputs: Mapping[str, str],
) -> None:
    """Write every table of the stage; `systems`: the file of each system, `outputs`: all others by name."""
    loaded = load_study(study)
    table = systems_table(loaded)
    write(table, outputs["everything"], SYSTEMS)
    for name, path in systems.items():
        write(table[table["system"] == name], path, SYSTEMS)
    write(layouts_table(loaded), outputs["layouts"], LAYOUTS)
    write(models_table(loaded), outputs["models"], MODELS)

    focus = loaded.system(loaded.focus)
    write(tornado(loaded, focus), outputs["tornado"], TORNADO)
    write(where_it_pays(loaded.physical.reuse), outputs["where"], WHERE)

    compared = all_to_all(read(measured, ALLTOALL_MEASUREMENTS))
    write(compared, outputs["alltoall"], ALLTOALL)
    write(all_to_all_errors(compared), outputs["errors"], ALLTOALL_ERRORS)
    anchored = anchors(stated)
    write(anchored, outputs["anchors"], ANCHORS)
    write(gains(stated, anchored), outputs["gains"], GAINS)
    lines = (
        f"DEBUG {system.name} {STRATEGIES[name]}: {line}"
        for system in loaded.systems
        for name in STRATEGIES
        for line in details(loaded, system, name)
    )
    write_text(outputs["debug"], "\n".join(lines) + "\n")
    write(pd.concat([read(path, OVERLAP) for path in overlap]), outputs["overlap"], OVERLAP)


if __name__ == "__main__":
    run_step(
        moe_study,
        snakemake,
        study=snakemake.input.study,
        measured=snakemake.input.measured,
        stated=snakemake.input.anchors,
        overlap=snakemake.input.overlap,
        systems={Path(path).stem.removeprefix("results_"): path for path in snakemake.output.systems},
        outputs={key: path for key, path in snakemake.output.items() if key != "systems"},
    )
