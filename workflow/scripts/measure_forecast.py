"""Describe the device at hand and write forecasts of a grid of kernels down, before anything is measured."""

import json

from tilecast.files import write_text
from tilecast.measure.describe import DESCRIPTION, describe, open_backend, read_description
from tilecast.measure.grid import FAMILIES
from tilecast.measure.store import digest
from tilecast.predict.before import write_kernel_plan
from tilecast.step import run_step

EACH, LONGEST_S = 48, 0.01  # a small grid of short kernels: seconds have to do


def measure_forecast(device: str, threads: int, output: str) -> None:
    """Write description and forecasts into the device's folder, and where that is to `output`."""
    from pathlib import Path

    backend = open_backend(device, threads)
    folder = Path(output).parent / backend.name
    known = folder / DESCRIPTION
    description = read_description(known) if known.exists() else describe(backend)
    plan = write_kernel_plan(folder, description, backend.dtypes[:1], FAMILIES, EACH, LONGEST_S, quick=True)
    write_text(output, json.dumps({"device": backend.name, "forecasts_sha256": digest(plan)}, indent=2) + "\n")
    print(f"{backend.title}: forecasts in {plan}")


if __name__ == "__main__":
    run_step(
        measure_forecast,
        snakemake,
        device=snakemake.params.device,
        threads=snakemake.params.measured_threads,
        output=snakemake.output[0],
    )
