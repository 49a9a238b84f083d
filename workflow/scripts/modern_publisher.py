"""The publisher's own system on the dense serving points: an upper anchor, run by its own environment."""

import subprocess
from pathlib import Path

from tilecast.artifact.aiconfigurator_tables import Archive, serving_table
from tilecast.base.errors import InputError
from tilecast.base.job import run_step
from tilecast.evaluate.serving import publisher_points
from tilecast.tables.io import write_free


def modern_publisher(
    archive: str, asker: str, output: str, interpreter: str | None, sample: int, seed: int
) -> None:
    """Ask about `sample` of the points, or all where there are no more."""
    if interpreter is None or not Path(interpreter).is_file():
        raise InputError(
            "modern.publisher_python",
            f"{interpreter!r} is no Python with the publisher's system",
            "python -m venv aic && aic/bin/pip install aiconfigurator==0.12.0, then name aic/bin/python",
        )
    wheel = Archive(archive)
    points = publisher_points(serving_table(wheel), wheel)
    points = points.sample(min(sample, len(points)), random_state=seed).sort_values("point")
    asked = Path(output).with_suffix(".points.csv")
    write_free(points, asked)
    done = subprocess.run([interpreter, asker, str(asked), output], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(interpreter, f"could not run the publisher's system ({said})")


if __name__ == "__main__":
    run_step(
        modern_publisher,
        snakemake,
        archive=snakemake.input.archive,
        asker=snakemake.input.asker,
        output=snakemake.output[0],
        interpreter=snakemake.params.interpreter,
        sample=snakemake.params.sample,
        seed=snakemake.params.seed,
    )
