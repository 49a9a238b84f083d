"""Hold forecasts made before measuring against what was measured: kept measurements, and this machine's."""

import json
from collections.abc import Mapping
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.evaluate.machine import evaluate
from tilecast.tables.declared.measured import LIVE
from tilecast.tables.io import write


def measure_evaluate(kept: str, live: str, seed: int, outputs: Mapping[str, str]) -> None:
    """Write the tables of the page's section on this machine."""
    roots = [("replayed", Path(kept))] + ([("live", Path(live))] if live else [])
    found = evaluate(roots, seed)
    machines = json.dumps({"machines": found["machines"]}, indent=2, ensure_ascii=False)
    write_text(outputs["machines"], machines + "\n")
    for name in ("kernels", "models", "summary", "calibration"):
        write(found[name], outputs[name], LIVE[name])
    print(f"{len(found['machines'])} devices, {len(found['kernels'])} forecasts of measured kernels")


if __name__ == "__main__":
    run_step(
        measure_evaluate,
        snakemake,
        kept=snakemake.params.kept,
        live=snakemake.params.live,
        seed=snakemake.params.seed,
        outputs=dict(snakemake.output.items()),
    )
