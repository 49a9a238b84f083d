"""The half-precision protocol: experts trained, generations left out, forward in time; weights and record."""

from pathlib import Path

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.base.job import run_step
from tilecast.evaluate.generations import by_size, groups_of, known_devices, noise, protocol, surface
from tilecast.evaluate.half_ablation import half_ablation
from tilecast.evaluate.shapes import shapes_left_out
from tilecast.predict.train.generations import LEADING, LeaveOut, ship
from tilecast.tables.declared.half_precision import HALF_ABLATION, NOISE, PROTOCOL, SHAPE_BASELINES, SIZES, SURFACE
from tilecast.tables.io import write


def half_precision_protocol(
    kernels: str,
    record: str,
    protocol_table: str,
    sizes: str,
    surfaces: str,
    noises: str,
    shapes: str,
    ablation: str,
    seed: int,
) -> None:
    groups = groups_of(kernels)
    rounds = LeaveOut(groups, known_devices(), GENERATIONS, seed)
    write(protocol(rounds), protocol_table, PROTOCOL)
    write(by_size(rounds, LEADING), sizes, SIZES)
    write(surface(rounds), surfaces, SURFACE)
    write(noise(groups), noises, NOISE)
    write(shapes_left_out(groups, known_devices(), seed), shapes, SHAPE_BASELINES)
    write(half_ablation(groups, known_devices(), seed), ablation, HALF_ABLATION)
    ship(rounds, Path(record).parent)


if __name__ == "__main__":
    run_step(
        half_precision_protocol,
        snakemake,
        kernels=snakemake.input.kernels,
        record=snakemake.output.record,
        protocol_table=snakemake.output.protocol,
        sizes=snakemake.output.sizes,
        surfaces=snakemake.output.surface,
        noises=snakemake.output.noise,
        shapes=snakemake.output.shapes,
        ablation=snakemake.output.ablation,
        seed=snakemake.params.seed,
    )
