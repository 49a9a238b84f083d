"""The shipped half-precision experts on a sample of kernels and on the serving points; the protocol's record."""

from pathlib import Path

import pandas as pd

from tilecast.artifact.aiconfigurator_tables import Archive, serving_table
from tilecast.base.job import run_step
from tilecast.evaluate.generations import known_devices, read_groups, rivals_left_out, sampled, shipped_errors
from tilecast.evaluate.serving import (
    MECHANISMS,
    PRESENT,
    anchor_errors,
    point_forecasts,
    serving_ablation,
    serving_errors,
)
from tilecast.evaluate.serving_intervals import serving_intervals
from tilecast.predict.half_precision import HalfPrecision
from tilecast.tables.declared.half_precision import (
    ANCHOR,
    GENERATION_BASELINES,
    HALF_ABLATION,
    NOISE,
    PROTOCOL,
    PUBLISHER,
    SERVING,
    SERVING_ABLATION,
    SERVING_ERRORS,
    SERVING_INTERVALS,
    SHAPE_BASELINES,
    SIZES,
    SURFACE,
)
from tilecast.tables.io import empty, read, write


def half_precision_evaluate(
    archive: str,
    weights: str,
    records: list[str],
    protocol: str,
    sizes: str,
    surface: str,
    noise: str,
    shapes: str,
    half: str,
    sample: str,
    baselines: str,
    serving_points: str,
    serving_summary: str,
    intervals: str,
    ablation: str,
    publisher: str,
    anchor: str,
    count: int,
    seed: int,
) -> None:
    """Without a fetched wheel every table is empty: then there is nothing the record could be held against."""
    wheel, every, model = Archive(archive), known_devices(), HalfPrecision.load(Path(weights).parent)
    tables = (
        (protocol, PROTOCOL),
        (sizes, SIZES),
        (surface, SURFACE),
        (noise, NOISE),
        (shapes, SHAPE_BASELINES),
        (half, HALF_ABLATION),
    )
    for source, (target, declared) in zip(records, tables, strict=True):
        write(read(source, declared) if wheel else empty(declared), target, declared)
    errors, points, beside = empty(PROTOCOL), empty(SERVING), empty(GENERATION_BASELINES)
    without = empty(SERVING_ABLATION)
    if wheel:
        whole = read_groups(wheel, noise=False, families=("gemm",), dtypes=("bf16",))
        groups = sampled(whole, count, seed)
        errors, beside = shipped_errors(groups, model, every), rivals_left_out(whole, groups, model, every)
        measured = serving_table(wheel)
        views = point_forecasts(measured, wheel, model, every, True, MECHANISMS)
        kept = point_forecasts(measured, wheel, model, every, False)
        points, without = pd.concat([views[PRESENT], kept[PRESENT]], ignore_index=True), serving_ablation(views)
    write(errors, sample, PROTOCOL)
    write(beside, baselines, GENERATION_BASELINES)
    write(points, serving_points, SERVING)
    write(serving_errors(points), serving_summary, SERVING_ERRORS)
    write(serving_intervals(points), intervals, SERVING_INTERVALS)
    write(without, ablation, SERVING_ABLATION)
    write(anchor_errors(points, read(publisher, PUBLISHER)), anchor, ANCHOR)
    print(f"{len(errors)} GPUs sampled, {len(points)} serving forecasts")


if __name__ == "__main__":
    run_step(
        half_precision_evaluate,
        snakemake,
        archive=snakemake.input.archive,
        weights=snakemake.input.weights[0],
        records=list(snakemake.input.records),
        protocol=snakemake.output.protocol,
        sizes=snakemake.output.sizes,
        surface=snakemake.output.surface,
        noise=snakemake.output.noise,
        shapes=snakemake.output.shapes,
        half=snakemake.output.ablation,
        sample=snakemake.output.sample,
        baselines=snakemake.output.baselines,
        serving_points=snakemake.output.serving,
        serving_summary=snakemake.output.serving_errors,
        intervals=snakemake.output.serving_intervals,
        ablation=snakemake.output.serving_ablation,
        publisher=snakemake.input.publisher,
        anchor=snakemake.output.anchor,
        count=snakemake.params.sample,
        seed=snakemake.params.seed,
    )
