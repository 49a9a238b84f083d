"""A device measured with forecasts made before, small, hostile words included."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from pictures import save

from tilecast.evaluate.machine import calibration, summary
from tilecast.present.figures import measure_validation
from tilecast.tables.declared.measured import KERNEL_KEY, LIVE, LIVE_KERNELS, SCENARIOS
from tilecast.tables.io import write


def write_measured(root: Path, hostile: str = "plain") -> None:
    """Write `measure/` and its figures."""
    shared = {"where": "replayed", "device": hostile, "run": "kernels-001", "shape": ""}
    rows = [
        shared | {"family": family, "op": op, "dtype": "fp32", "b": 1, "m": size, "n": size, "k": size,
                  "predictor": predictor, "predicted_ms": 1.2 * size, "predicted_low_ms": 1.0 * size,
                  "predicted_high_ms": 1.5 * size, "measured_ms": float(size), "spread_percent": 3.0,
                  "ape_percent": 20.0}
        for family, op in (("bmm", "bmm"), ("softmax", "softmax"))
        for size in (8, 16, 32, 64)
        for predictor in ("tilecast", "roofline")
    ]  # fmt: skip
    live = pd.DataFrame(rows)[list(LIVE_KERNELS.columns)]
    untimed = pd.DataFrame(columns=[*KERNEL_KEY, "where", "device"])
    tables = {"kernels": live, "summary": summary(live, untimed), "calibration": calibration(live, 0)}
    model = {
        "where": "replayed", "device": hostile, "run": "models-001", "model": hostile, "mode": "inference",
        "phase": "decode", "sequence_length": 1, "batch_size": 1, "context": 64, "dtype": "fp32",
        "attention": "eager", "execution": "compiled", "predictor": None, "predicted_ms": None,
        "measured_ms": None,
        "ape_percent": None, "outcome": "out of memory", "passport": "measured", "reason": hostile,
    }  # fmt: skip
    tables["models"] = pd.DataFrame([model])
    tables["labels"] = pd.DataFrame([{
        "device": hostile, "model": hostile, "mode": "inference", "sequence_length": 8, "batch_size": 2,
        "option": "none", "label_ms": 13.0, "label_forward_ms": 13.0, "label_backward_ms": None,
        "harness_ms": 10.0, "harness_forward_ms": 10.0, "harness_backward_ms": None, "measured_ms": 12.5,
        "harness_percent": 30.0,
        "measured_percent": 4.0,
    }])  # fmt: skip
    tables["scenarios_here"] = pd.DataFrame([{
        "id": hostile, "device": hostile, "dtype": "bf16", "execution": "graphs", "predictor": "tilecast",
        "predicted_ms": 9.0, "measured_ms": 10.0, "ape_percent": 10.0, "passport": "measured",
    }])  # fmt: skip
    tables["constants"] = pd.DataFrame([{
        "device": hostile, "constant": hostile, "where": "x.py", "assumed": 0.85, "measured": 0.7, "low": 0.69,
        "high": 0.71, "n": 4, "verdict": "refuted",
    }])  # fmt: skip
    for name, table in tables.items():
        write(table, root / f"measure/{name}.csv", LIVE[name])
    machine = {
        "where": "replayed", "device": hostile, "title": hostile, "described": "measured here", "kernels": 8,
        "models": 1, "versions": {"torch": "2"}, "driver": None, "notes": [hostile],
    }  # fmt: skip
    (root / "measure/machines.json").write_text(json.dumps({"machines": [machine]}))
    plain = dict.fromkeys(SCENARIOS.columns) | {
        "id": "one",
        "title": hostile,
        "device": "x",
        "layout": "tp4",
    }
    scenarios = [
        plain | {"outcome": "forecast", "latency_ms": 11.0, "compute_ms": 10.0, "low_ms": 9.0, "high_ms": 13.0,
                 "truth_low_ms": 9.0, "truth_high_ms": 11.0, "truth_source": hostile, "ape_percent": 10.0},
        plain | {"id": "two", "outcome": "failed", "reason": hostile},
    ]  # fmt: skip
    write(pd.DataFrame(scenarios), root / "measure/scenarios.csv", SCENARIOS)
    save(measure_validation.draw(live), root / "figures", "measure_validation")
