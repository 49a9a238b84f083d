"""NeuSight's architecture trained on the protocol's bf16 products, fold by fold."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.generations import groups_of
from tilecast.evaluate.neusight_generations import neusight_protocol
from tilecast.tables.declared.half_precision import PROTOCOL
from tilecast.tables.io import write


def half_precision_neusight(kernels: str, output: str, seed: int) -> None:
    table = neusight_protocol(groups_of(kernels), Path(output).parent / "checkpoints", seed)
    write(table, output, PROTOCOL)


if __name__ == "__main__":
    run_step(
        half_precision_neusight,
        snakemake,
        kernels=snakemake.input.kernels,
        output=snakemake.output[0],
        seed=snakemake.params.seed,
    )
