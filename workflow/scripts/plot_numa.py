"""Draws the four pictures of locality: penalties, throughput over intensity, two batches, GPUs and nodes."""

from collections.abc import Mapping

import tilecast.tables.locality  # noqa: F401 (declares the tables)
from tilecast.base.job import run_step
from tilecast.present.figures import numa_heatmap, numa_intensity, numa_penalty, numa_timeline
from tilecast.present.figures.style import save
from tilecast.tables.io import read

FORMS = ("svg", "pdf", "png", "data", "about")


def plot_numa(
    predicted: str, runs: str, comparison: str, timeline: str, outputs: Mapping[str, Mapping[str, str]]
) -> None:
    """One job, for what each picture takes is mostly the start of the job; `outputs`: the forms of each."""
    forecast, compared = read(predicted, "numa_predicted"), read(comparison, "numa_comparison")
    made = read(runs, "numa_runs")
    save(numa_penalty.draw(forecast, compared), **outputs["penalty"])
    save(numa_intensity.draw(forecast, made), **outputs["intensity"])
    save(numa_timeline.draw(read(timeline, "numa_timeline"), made), **outputs["timeline"])
    save(numa_heatmap.draw(made, compared), **outputs["heatmap"])


if __name__ == "__main__":
    run_step(
        plot_numa,
        snakemake,
        predicted=snakemake.input.predicted,
        runs=snakemake.input.runs,
        comparison=snakemake.input.comparison,
        timeline=snakemake.input.timeline,
        outputs={
            name: {form: snakemake.output[f"{name}_{form}"] for form in FORMS}
            for name in ("penalty", "intensity", "timeline", "heatmap")
        },
    )
