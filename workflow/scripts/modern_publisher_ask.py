"""Run by the publisher's own environment, not by this project's: its estimate of each serving point of a CSV.

`python modern_publisher_ask.py points.csv out.csv`; needs `aiconfigurator` of the wheel's version, nothing else.
"""

import csv
import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

from aiconfigurator.cli.api import cli_estimate  # noqa: E402


def ask(point: dict[str, str]) -> tuple[str, str, str]:
    """(time to first token, time per output token, why not) of one point."""
    dense = not float(point["experts"])
    try:
        result = cli_estimate(
            model_path=point["asked_model"],
            system_name=point["system"],
            backend_name=point["framework"],
            isl=int(point["prompt"]),
            osl=int(point["output"]),
            batch_size=int(float(point["concurrency"])),
            tp_size=int(float(point["tp"])),
            moe_tp_size=None if dense else int(float(point["moe_tp"])),
            moe_ep_size=None if dense else int(float(point["moe_ep"])),
            gemm_quant_mode=point["gemm_dtype"] or "bfloat16",
            moe_quant_mode=None if dense else (point["moe_dtype"] or "bfloat16"),
        )
    except Exception as error:  # whatever it is, it is the answer for this point
        return "", "", f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
    return repr(float(result.ttft)), repr(float(result.tpot)), ""


if __name__ == "__main__":
    source, target = sys.argv[1:]
    with Path(source).open(newline="") as lines:
        points = sorted(csv.DictReader(lines), key=lambda point: (point["system"], point["framework"]))
    with Path(target).open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["point", "ttft_ms", "tpot_ms", "reason"])
        for point in points:
            writer.writerow([point["point"], *ask(point)])
            out.flush()
