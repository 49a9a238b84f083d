"""Trace models into kernel lists: one table a cell `<model>-<mode>-<sequence>-<batch>`."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.graph.source import kernel_graph
from tilecast.models.choices import Cell
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import write


def graph_trace(dtype: str, attention: str, routing: str, outputs: list[str]) -> None:
    """Write the kernel list of each cell; the output's name says which."""
    for output in outputs:
        cell = Cell.parse(Path(output).stem)
        graph = kernel_graph(**cell._asdict(), dtype=dtype, attention=attention, routing=routing)
        write(graph.kernels(), output, KERNEL_LIST)
        stored = sum(map(len, graph.blocks))
        print(f"{Path(output).stem}: {len(graph.wires)} kernels, {stored} stored")


if __name__ == "__main__":
    run_step(
        graph_trace,
        snakemake,
        dtype=snakemake.params.dtype,
        attention=snakemake.params.attention,
        routing=snakemake.params.routing,
        outputs=list(snakemake.output),
    )
