"""Execute the authors' own weights, where the artifact has them, beside the predictions they stored."""

from tilecast.artifact.lock import read_lock
from tilecast.base.job import run_step
from tilecast.evaluate.same_weights import agreement, same_weights
from tilecast.hardware.device import devices_of_table
from tilecast.predict.artifact_graphs import forecast_all, layers_by_model, workloads
from tilecast.predict.baselines.neusight import profiles_of
from tilecast.predict.baselines.published_weights import AuthorsNeuSight
from tilecast.predict.registry import specifications
from tilecast.tables.declared.artifact import DEVICES, GRAPHS, KERNELS, PREDICTIONS
from tilecast.tables.declared.evaluation import SAME_WEIGHTS
from tilecast.tables.io import empty, read, write


def evaluate_weights(
    archive: str, lock: str, kernels: str, graphs: str, layers: str, devices: str, predictions: str, output: str
) -> None:
    """Write every cell's stored and executed prediction; none where the weights are absent."""
    stated, timed = devices_of_table(read(devices, DEVICES)), read(kernels, KERNELS)
    profiles = profiles_of(timed[timed["split"] == "train"], stated)  # tiles of the artifact's training kernels
    predictor = AuthorsNeuSight.of_archive(archive, read_lock(lock), profiles)
    cells, table = read(graphs, GRAPHS), empty(SAME_WEIGHTS)
    if predictor is not None and len(cells):
        known = specifications(predictor, read(devices, DEVICES))
        nvidia = {name: device for name, device in known.items() if device.vendor in predictor.vendors}
        found = forecast_all(predictor, workloads(cells, layers_by_model(layers)), nvidia)
        table = same_weights(read(predictions, PREDICTIONS), found.cells)
    write(table, output, SAME_WEIGHTS)
    print(agreement(table))


if __name__ == "__main__":
    run_step(
        evaluate_weights,
        snakemake,
        **{
            name: str(snakemake.input[name])
            for name in ("archive", "lock", "kernels", "graphs", "layers", "devices", "predictions")
        },
        output=str(snakemake.output),
    )
