"""Every kernel timing of the default frameworks as one table, flagged; the serving points beside it."""

from tilecast.artifact.aiconfigurator_tables import Archive, serving_table, write_kernels
from tilecast.base.job import run_step
from tilecast.tables.declared.half_precision import SERVING_POINTS
from tilecast.tables.io import write


def half_precision_tidy(archive: str, kernels: str, points: str) -> None:
    """One Parquet file of the wheel is in memory at a time."""
    wheel = Archive(archive)
    print(f"{write_kernels(wheel, kernels)} kernels")
    write(serving_table(wheel), points, SERVING_POINTS)


if __name__ == "__main__":
    run_step(
        half_precision_tidy,
        snakemake,
        archive=snakemake.input.archive,
        kernels=snakemake.output.kernels,
        points=snakemake.output.points,
    )
