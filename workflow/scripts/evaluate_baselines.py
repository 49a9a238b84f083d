"""Hold `tilecast` against simple rivals that are fitted on the same kernels."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.donors import donors
from tilecast.evaluate.goals import PLAIN
from tilecast.evaluate.rivals import Measured, baselines
from tilecast.predict.artifact_graphs import layers_by_model, workloads
from tilecast.predict.registry import specifications
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.artifact import DEVICES, GRAPHS, KERNELS, LABELS
from tilecast.tables.declared.evaluation import BASELINES, DONORS, ERRORS
from tilecast.tables.io import empty, read, write


def evaluate_baselines(
    weights: str,
    kernels: str,
    graphs: str,
    layers: str,
    devices: str,
    labels: str,
    errors: str,
    output: str,
    borrowed: str,
) -> None:
    """Write the errors of both, on what share of the cases `tilecast` is closer, and other ways to borrow."""
    timed, cells = read(kernels, KERNELS), read(graphs, GRAPHS)
    table, ways = empty(BASELINES), empty(DONORS)
    if len(timed) and len(cells):  # else transcribed figures alone
        model = Tilecast.load(Path(weights).parent)
        measured = Measured(timed, specifications(model, read(devices, DEVICES)), model.meta["decay"])
        work = workloads(cells[cells["option"] == PLAIN["option"]], layers_by_model(layers))
        table = baselines(model, measured, work, read(labels, LABELS), read(errors, ERRORS))
        ways = donors(model, measured)
    write(table, output, BASELINES)
    write(ways, borrowed, DONORS)
    print(f"{len(table)} rows")


if __name__ == "__main__":
    run_step(
        evaluate_baselines,
        snakemake,
        **{
            name: str(snakemake.input[name])
            for name in ("weights", "kernels", "graphs", "layers", "devices", "labels", "errors")
        },
        output=snakemake.output.baselines,
        borrowed=snakemake.output.donors,
    )
