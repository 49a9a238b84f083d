"""Every kernel timing of the default frameworks as one table, flagged; the serving points beside it."""

from tilecast.artifact.aiconfigurator_tables import Archive, serving_table, write_kernels
from tilecast.base.job import run_step
from tilecast.tables.io import write_free


def half_precision_tidy(archive: str, kernels: str, points: str) -> None:
    """One Parquet file of the wheel is in memory at a time."""
    wheel = Archive(archive)
    print(f"{write_kernels(wheel, kernels)} kernels")
    write_free(serving_table(wheel), points)


if __name__ == "__main__":
    run_step(
        half_precision_tidy,
        snakemake,
        archive=snakemake.input.archive,
        kernels=snakemake.output.kernels,
        points=snakemake.output.points,
    )
