"""Train a published predictor's networks without each GPU in turn, by a shorter recipe, and say how they err."""

import json
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.hardware.device import devices_of_table
from tilecast.predict.train.baselines import leave_one_out_networks
from tilecast.tables.declared.artifact import DEVICES, KERNELS
from tilecast.tables.io import read


def train_leave_one_out(name: str, kernels: str, devices: str, seed: int, output: str) -> None:
    """Write recipes and errors as JSON; checkpoints lie beside it, so that an interrupted run goes on."""
    table = read(kernels, KERNELS)
    known = devices_of_table(read(devices, DEVICES))  # as the shipped records were made
    trained = table[table["split"] == "train"]
    record = leave_one_out_networks(name, trained, known, Path(output).parent / f".{name}", seed)
    write_text(Path(output), json.dumps(record, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_step(
        train_leave_one_out,
        snakemake,
        name=snakemake.wildcards.network,
        kernels=snakemake.input.kernels,
        devices=snakemake.input.devices,
        seed=snakemake.params.seed,
        output=snakemake.output[0],
    )
