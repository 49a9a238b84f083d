"""List what is wrong or missing in the artifact."""

from tilecast.artifact import names
from tilecast.artifact.defects import Tables, find_defects, read_reference
from tilecast.artifact.lock import read_lock
from tilecast.artifact.store import load, paths
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import DEFECTS, TIDY
from tilecast.tables.io import read, write


def tidy_defects(archive: str, lock: str, reference: str, tables: dict[str, str], output: str) -> None:
    found = find_defects(
        Tables(**{name: read(path, TIDY[name]) for name, path in tables.items()}),
        load(archive, names.SUMMARIES, names.DEVICES, names.MODELS),
        paths(archive),
        [entry.path for entry in read_lock(lock)],
        read_reference(reference),
    )
    print(f"{len(found)} defects")
    write(found, output, DEFECTS)


if __name__ == "__main__":
    run_step(
        tidy_defects,
        snakemake,
        archive=snakemake.input.archive,
        lock=snakemake.input.lock,
        reference=snakemake.input.reference,
        tables={name: snakemake.input[name] for name in Tables._fields},
        output=snakemake.output[0],
    )
