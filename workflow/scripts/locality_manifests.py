"""Expands every locality study to the runs it consists of."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.job import run_step
from tilecast.locality.study import counts, load_study, manifest
from tilecast.tables.declared.locality import COUNTS, MANIFEST
from tilecast.tables.io import write


def locality_manifests(
    studies: Iterable[str], overrides: Mapping[str, Any], manifests: Iterable[str], output: str
) -> None:
    """A manifest for every study, with what the command line changes; and their sizes as shipped."""
    files = {Path(study).stem: study for study in studies}
    for path in manifests:
        name = Path(path).stem
        write(pd.DataFrame(manifest(name, load_study(files[name], overrides))), path, MANIFEST)
    shipped = {name: load_study(file) for name, file in files.items()}
    write(pd.DataFrame(counts(shipped)), output, COUNTS)


if __name__ == "__main__":
    run_step(
        locality_manifests,
        snakemake,
        studies=snakemake.input.studies,
        overrides=snakemake.params.overrides,
        manifests=snakemake.output.manifests,
        output=snakemake.output.counts,
    )
