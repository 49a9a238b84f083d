"""Train one predictor on the artifact's kernel data, and say how far it is from the one shipped."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.predict.artifact_graphs import layers_by_model, workloads
from tilecast.predict.registry import load_predictor, specifications
from tilecast.predict.train.baselines import distance, train
from tilecast.tables.declared.artifact import DEVICES, GRAPHS, KERNELS
from tilecast.tables.declared.predict import DISTANCE
from tilecast.tables.io import read, write


def train_predictor(
    name: str, kernels: str, devices: str, graphs: str, layers: str, seed: int, record: str, distance_to: str
) -> None:
    """Write the weights beside `record`, and the table of differences per kernel family."""
    shipped = load_predictor(name)
    known = specifications(shipped, read(devices, DEVICES))
    table = read(kernels, KERNELS)
    train(name, table[table["split"] == "train"], known, Path(record).parent, seed)
    wanted = workloads(read(graphs, GRAPHS), layers_by_model(layers)).distinct
    trained_on = {name: known[name] for name in sorted(table.loc[table["split"] == "train", "device"].unique())}
    apart = distance(load_predictor(name, Path(record).parent), shipped, wanted, trained_on)
    write(apart, distance_to, DISTANCE)
    for row in apart.itertuples():
        figures = f"median {row.median_percent:.2g} %, at most {row.worst_percent:.2g} %"
        print(f"{name} {row.family}: {figures} from the shipped forecasts")


if __name__ == "__main__":
    run_step(
        train_predictor,
        snakemake,
        name=snakemake.wildcards.trained,
        kernels=snakemake.input.kernels,
        devices=snakemake.input.devices,
        graphs=snakemake.input.graphs,
        layers=snakemake.input.layers,
        seed=snakemake.params.seed,
        record=snakemake.output.record,
        distance_to=snakemake.output.distance,
    )
