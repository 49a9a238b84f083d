"""Time kernels on the device at hand, in the order of the forecasts written before, until the budget is spent."""

import json
from pathlib import Path

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.measure.describe import open_backend
from tilecast.measure.session import distinct, measure_kernels
from tilecast.measure.store import PLANS, Run, digest, runs
from tilecast.tables.declared.measured import PLANNED_KERNELS
from tilecast.tables.io import read


def measure_on_device(before: str, device: str, threads: int, budget_s: float, output: str) -> None:
    """Add a run to the device's folder; write which runs there are to `output`."""
    planned = read_json(before)
    backend = open_backend(device, threads)
    folder = Path(before).parent / backend.name
    plan = folder / PLANS["kernels"]
    if not plan.exists() or digest(plan) != planned["forecasts_sha256"]:
        raise InputError(plan, "are not the forecasts made for this device", f"delete {before} and run again")
    about = {"command": "snakemake", "forecasts": plan.name, "forecasts_sha256": planned["forecasts_sha256"]}
    run = Run(backend, folder, "kernels", about)
    result = measure_kernels(backend, distinct(read(plan, PLANNED_KERNELS)), run, budget_s)
    made = {path.name: digest(path) for path in runs(folder, "kernels")}
    write_text(output, json.dumps({"device": backend.name, "runs": made}, indent=2) + "\n")
    print(result)


if __name__ == "__main__":
    run_step(
        measure_on_device,
        snakemake,
        before=snakemake.input.before,
        device=snakemake.params.device,
        threads=snakemake.params.measured_threads,
        budget_s=snakemake.params.budget_s,
        output=snakemake.output[0],
    )
