"""Leave one GPU out: roofline and Li et al. computed here, the trained networks' figures from their records."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tilecast.base.job import run_step
from tilecast.hardware.device import devices_of_table
from tilecast.predict.baselines.li import Li
from tilecast.predict.baselines.roofline import Roofline
from tilecast.predict.train.leave_one_out import evaluated, leave_one_out
from tilecast.tables.declared.artifact import DEVICES, KERNELS
from tilecast.tables.declared.predict import LOGO
from tilecast.tables.io import read, write


def predict_logo(kernels: str, devices: str, records: Sequence[str], output: str) -> None:
    """Write one row a predictor, family and held-out GPU."""
    table, known = read(kernels, KERNELS), devices_of_table(read(devices, DEVICES))
    counts = evaluated(table).groupby(["device", "family"]).size().to_dict()
    parts = [
        leave_one_out(lambda _: Roofline(), table, known),
        leave_one_out(lambda rest: Li.fit(rest, known), table, known),
    ]
    for path in records:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        errors = record.get("leave_one_gpu_out_mape_percent", {})
        rows = [
            (record["predictor"], family, device, counts.get((device, family), 0), percent)
            for family, by_device in sorted(errors.items())
            for device, percent in sorted(by_device.items())
        ]
        parts.append(pd.DataFrame(rows, columns=list(LOGO.columns)))
    whole = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    write(whole, output, LOGO)


if __name__ == "__main__":
    run_step(
        predict_logo,
        snakemake,
        kernels=snakemake.input.kernels,
        devices=snakemake.input.devices,
        records=list(snakemake.input.records),
        output=snakemake.output[0],
    )
