"""Describe the device at hand and write forecasts of a grid of kernels down, before anything is measured."""

import json
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.measure.describe import DESCRIPTION, describe, open_backend, read_description
from tilecast.measure.grid import EACH, FAMILIES
from tilecast.measure.store import digest
from tilecast.predict.plan import write_kernel_plan

QUICK_S = 60  # below this budget a small grid of short kernels in one format has to do


def measure_forecast(device: str, threads: int, budget_s: float, output: str) -> None:
    """Write description and forecasts into the device's folder, and where that is to `output`."""
    backend = open_backend(device, threads)
    folder = Path(output).parent / backend.name
    known = folder / DESCRIPTION
    description = read_description(known) if known.exists() else describe(backend)
    quick = budget_s < QUICK_S
    dtypes, each, longest_s = (backend.dtypes[:1], 48, 0.01) if quick else (backend.dtypes, EACH, 0.1)
    plan = write_kernel_plan(folder, description, dtypes, FAMILIES, each, longest_s, quick)
    write_text(output, json.dumps({"device": backend.name, "forecasts_sha256": digest(plan)}, indent=2) + "\n")
    print(f"{backend.title}: forecasts in {plan}")


if __name__ == "__main__":
    run_step(
        measure_forecast,
        snakemake,
        device=snakemake.params.device,
        threads=snakemake.params.measured_threads,
        budget_s=snakemake.params.budget_s,
        output=snakemake.output[0],
    )
