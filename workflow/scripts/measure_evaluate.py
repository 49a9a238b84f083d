"""Hold forecasts made before measuring against what was measured: kept measurements, and this machine's."""

import json
from collections.abc import Mapping
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.evaluate.campaign import against_labels, against_scenarios, constants
from tilecast.evaluate.machine import evaluate, folders, joined
from tilecast.evaluate.scenarios import read_scenarios
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.measured import LIVE
from tilecast.tables.io import read, write


def measure_evaluate(
    kept: str, live: str, cpus: bool, labels: str, scenarios: str, seed: int, outputs: Mapping[str, str]
) -> None:
    """Write the tables of the page's section on measured devices; `cpus`: also kept CPUs."""
    roots = [("replayed", Path(kept))] + ([("live", Path(live))] if live else [])
    places = [(where, folder) for where, root in roots for folder in folders(root)]
    places = [(at, one) for at, one in places if cpus or at == "live" or not one.name.startswith("CPU_")]
    found = evaluate(places, seed)
    known, named = read(labels, LABELS), read_scenarios(Path(scenarios))
    found |= {
        "labels": joined([against_labels(folder, known) for _, folder in places], LIVE["labels"]),
        "scenarios_here": joined(
            [against_scenarios(folder, named) for _, folder in places], LIVE["scenarios_here"]
        ),
        "constants": joined([constants(folder) for _, folder in places], LIVE["constants"]),
    }
    machines = json.dumps({"machines": found["machines"]}, indent=2, ensure_ascii=False)
    write_text(outputs["machines"], machines + "\n")
    for name in LIVE:
        write(found[name], outputs[name], LIVE[name])
    print(f"{len(found['machines'])} devices, {len(found['kernels'])} forecasts of measured kernels")


if __name__ == "__main__":
    run_step(
        measure_evaluate,
        snakemake,
        kept=snakemake.params.kept,
        live=snakemake.params.live,
        cpus=snakemake.params.cpus,
        labels=snakemake.input.labels,
        scenarios=snakemake.input.scenarios,
        seed=snakemake.params.seed,
        outputs=dict(snakemake.output.items()),
    )
