"""Hold every predictor against single kernels that were kept from training."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.kernels import kernel_errors, trained_on
from tilecast.predict.registry import load_predictor, specifications
from tilecast.tables.declared.artifact import DEVICES, KERNELS
from tilecast.tables.declared.evaluation import KERNEL_ERRORS
from tilecast.tables.io import read, write


def evaluate_kernels(
    kernels: str,
    devices: str,
    predictors: Mapping[str, str],
    weights: Mapping[str, Path],
    errors: str,
) -> None:
    """Write errors by predictor, family and GPU; `predictors`: name -> module:Class."""
    table, stated = read(kernels, KERNELS, only=("split", "test")), read(devices, DEVICES)
    trained = trained_on(kernels)
    loaded = [load_predictor(name, weights.get(name), kind) for name, kind in predictors.items()]
    forecasters = [(predictor, specifications(predictor, stated)) for predictor in loaded]
    write(kernel_errors(table, forecasters, trained), errors, KERNEL_ERRORS)


if __name__ == "__main__":
    run_step(
        evaluate_kernels,
        snakemake,
        kernels=snakemake.input.kernels,
        devices=snakemake.input.devices,
        predictors=snakemake.params.predictors,
        weights={name: Path(snakemake.input[name]).parent for name in snakemake.params.trained},
        errors=snakemake.output.errors,
    )
