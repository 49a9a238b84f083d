"""Runs one locality study on this host, going on where an earlier attempt stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilecast.base.job import run_step
from tilecast.locality.record import write_study
from tilecast.locality.runner import run_study
from tilecast.locality.study import load_study


def locality_study(
    study: str, name: str, overrides: Mapping[str, Any], device: str, fresh: bool, state: str, output: str
) -> None:
    """Make the runs that `state` does not hold yet, and write the study's folder."""
    raw = run_study(name, load_study(study, overrides), Path(state), device, fresh)
    write_study(raw, Path(state), Path(output))


if __name__ == "__main__":
    run_step(
        locality_study,
        snakemake,
        study=snakemake.input.study,
        name=snakemake.wildcards.study,
        overrides=snakemake.params.overrides,
        device=snakemake.params.device,
        fresh=snakemake.params.fresh,
        state=snakemake.params.state,
        output=snakemake.output[0],
    )
