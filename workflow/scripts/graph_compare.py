"""Hold our kernel lists against the artifact's operator graphs and say why they differ."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.graph.audit import differences
from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.declared.graphs import DIFFERENCES
from tilecast.tables.io import read, write


def graph_compare(graphs: str, lists: list[str], output: str) -> None:
    """Write one row per difference, with its reason."""
    table = differences(read(graphs, GRAPHS), {Path(path).stem: Path(path) for path in lists})
    write(table, output, DIFFERENCES)
    print(f"{len(table)} rows, {int((table['reason'] == '').sum())} without a reason")


if __name__ == "__main__":
    run_step(
        graph_compare,
        snakemake,
        graphs=snakemake.input.graphs,
        lists=list(snakemake.input.lists),
        output=snakemake.output[0],
    )
