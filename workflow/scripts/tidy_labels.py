"""Tidy the measured end-to-end latencies: the artifact's, or transcribed ones, and the users'."""

from tilecast.artifact import cells, names
from tilecast.artifact.labels import with_label_files
from tilecast.artifact.published import read_published
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.io import write


def tidy_labels(archive: str, transcribed: str, added: list[str], output: str) -> None:
    files = load(archive, names.LABELS)
    measured = cells.read_labels(files) if files else read_published(transcribed)[0]
    measured = with_label_files(measured, added)
    write(measured, output, LABELS)
    print(f"{len(measured)} labels")


if __name__ == "__main__":
    run_step(
        tidy_labels,
        snakemake,
        archive=snakemake.input.archive,
        transcribed=snakemake.input.transcribed,
        added=snakemake.input.added,
        output=snakemake.output[0],
    )
