"""Hold `tilecast` against simple rivals, other ways to borrow, and itself without what was chosen after a look."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.ablation import ablation
from tilecast.evaluate.constants import constants
from tilecast.evaluate.donors import donors
from tilecast.evaluate.goals import PLAIN
from tilecast.evaluate.rivals import Measured, baselines
from tilecast.predict.artifact_graphs import layers_by_model, workloads
from tilecast.predict.registry import specifications
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.artifact import DEVICES, GRAPHS, KERNELS, LABELS
from tilecast.tables.declared.evaluation import ABLATION, BASELINES, DONORS, ERRORS, EVALUATIONS
from tilecast.tables.declared.predict import CONSTANTS
from tilecast.tables.io import empty, read, write


def evaluate_baselines(
    weights: str,
    kernels: str,
    graphs: str,
    layers: str,
    devices: str,
    labels: str,
    errors: str,
    evaluations: str,
    output: Mapping[str, str],
) -> None:
    """Write the table of constants, and errors of rivals, of other ways to borrow, and without constants."""
    write(constants(), output["constants"], CONSTANTS)
    timed, cells = read(kernels, KERNELS), read(graphs, GRAPHS)
    compared, ways, without = empty(BASELINES), empty(DONORS), empty(ABLATION)
    if len(timed) and len(cells):  # else transcribed figures alone
        model = Tilecast.load(Path(weights).parent)
        known = specifications(model, read(devices, DEVICES))
        measured = Measured(timed, known, model.meta["decay"])
        work = workloads(cells[cells["option"] == PLAIN["option"]], layers_by_model(layers))
        truth, found = read(labels, LABELS), read(errors, ERRORS)
        compared = baselines(model, measured, work, truth, found)
        ways = donors(model, measured)
        without = ablation(model, work, known, truth, found, read(evaluations, EVALUATIONS), ways)
        print(without[["variant", "mape_percent"]].to_string(index=False))
    write(compared, output["baselines"], BASELINES)
    write(ways, output["donors"], DONORS)
    write(without, output["ablation"], ABLATION)


if __name__ == "__main__":
    run_step(
        evaluate_baselines,
        snakemake,
        **{
            name: str(snakemake.input[name])
            for name in ("weights", "kernels", "graphs", "layers", "devices", "labels", "errors", "evaluations")
        },
        output=dict(snakemake.output.items()),
    )
