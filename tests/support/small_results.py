"""A small evaluation made by the project's own functions, hostile words included."""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

import pandas as pd
from small_tables import write_rows

from tilecast.evaluate.constants import constants
from tilecast.evaluate.errors import cell_errors, phase_errors
from tilecast.evaluate.statistics import error_table
from tilecast.present.page.results import Results
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import DEFECTS, LABELS
from tilecast.tables.declared.claims import BADGES, CLAIM_ROWS, CLAIMS, VERDICTS
from tilecast.tables.declared.evaluation import (
    ABLATION,
    BASELINES,
    COVERAGE,
    DONORS,
    ERRORS,
    GOALS,
    INTERVAL_SUITES,
    KERNEL_ERRORS,
    LABEL_NOISE,
    LABEL_NOISE_MAPE,
    MAPE,
    OPERATOR_ERRORS,
    OWN_GRAPHS,
    PHASE_MAPE,
    SUMMARY_COMPARISON,
)
from tilecast.tables.declared.graphs import DIFFERENCES
from tilecast.tables.declared.predict import CONSTANTS, LOGO
from tilecast.tables.io import empty, write

HOSTILE = "<script>window.hacked = 1</script>"
RESAMPLING = {"resamples": 100, "confidence": 0.95, "seed": 0}


def _cells() -> list[dict[str, Any]]:
    cells = []
    for device in ("Tesla_V100-PCIE-32GB", "NVIDIA_H100_80GB_HBM3", "AMD_Instinct_MI100"):
        for model in ("bert_large", "gpt3_xl", HOSTILE):
            for mode in ("inference", "training"):
                cells.append({"device": device, "model": model, "mode": mode})
    return cells


def write_results(root: Path) -> Path:
    """A results folder as the workflow leaves it, from 18 cells and five claims."""
    from pictures import save

    from tilecast.present.figures import error_distribution, predicted_vs_measured

    shared = {"sequence_length": 512, "batch_size": 8, "option": "none"}
    labels, predictions = [], []
    for place, cell in enumerate(_cells()):
        whole = 10.0 * (place + 1)
        train = cell["mode"] == "training"
        parts = {"forward_ms": whole / 3 if train else whole, "backward_ms": whole * 2 / 3 if train else None}
        labels.append(cell | shared | {"latency_ms": whole, **parts, "layers": 24, "source": "label.json"})
        for predictor, factor in (("neusight_published", 1.05 + place / 100), ("roofline_published", 0.6)):
            cast = {name: None if value is None else value * factor for name, value in parts.items()}
            predictions.append(
                {"predictor": predictor}
                | cell
                | shared
                | {"latency_ms": whole * factor, **cast, "source": "prediction.json"}
            )
    label_table, prediction_table = pd.DataFrame(labels), pd.DataFrame(predictions)
    errors = cell_errors(label_table, prediction_table)
    write(label_table, root / "tidy/labels.csv", LABELS)
    write(errors, root / "evaluation/errors.csv", ERRORS)
    write(error_table(errors, MAPE, **RESAMPLING), root / "evaluation/mape.csv", MAPE)
    passes = error_table(phase_errors(label_table, prediction_table), PHASE_MAPE, **RESAMPLING)
    write(passes, root / "evaluation/phase_mape.csv", PHASE_MAPE)
    defect = {
        "kind": "label-without-prediction",
        "where": HOSTILE,
        "detail": HOSTILE,
        "severity": "affects results",
    }
    write(pd.DataFrame([defect]), root / "tidy/defects.csv", DEFECTS)
    claims = [
        {
            "id": f"claim-{place}",
            "title": f"Error {place} {HOSTILE}",
            "whose": ("authors", "survey")[place % 2] if place < 4 else "study",
            "source": ("README", "evaluation")[place % 2],
            "kind": "recomputed figure",
            "hardware": HOSTILE,
            "quote": f"error of {place} % {HOSTILE}",
            "claimed": str(place),
            "unit": "%",
            "reproduced": "1.00" if place < 3 else None,
            "n": 1 if place < 3 else 0,
            "verdict": verdict,
            "definition": "mean of ape_percent over errors",
            "explanation": "Because.",
            "other_readings": None,
        }
        for place, verdict in enumerate(VERDICTS)
    ]
    write(pd.DataFrame(claims), root / "evaluation/claims.csv", CLAIMS)
    badge = {"badge": "reproduced", "verdict": "yes", "reason": HOSTILE}
    write(pd.DataFrame([badge]), root / "evaluation/badges.csv", BADGES)
    row = {
        "id": "claim-0",
        "dataset": "errors",
        "row": HOSTILE,
        "measured_ms": 10.0,
        "predicted_ms": 10.1,
        "value": "1",
    }
    write(pd.DataFrame([row]), root / "evaluation/claim_rows.csv", CLAIM_ROWS)
    noise = label_table[list(CELL_KEY)].assign(
        measured_ms=label_table["latency_ms"], operators_ms=label_table["latency_ms"] * 0.7, ratio=0.7,
        forward_ratio=0.7, backward_ratio=None, consistent=False,
    )  # fmt: skip
    write(noise, root / "evaluation/label_noise.csv", LABEL_NOISE)
    compared = {"table": "nvidia_inf", "row": "V100", "published": 5.0, "recomputed": 6.0, "difference": 1.0}
    summary = [
        compared | {"column": "BERT", "equal": False, "cause": f"another rounding {HOSTILE}"},
        compared | {"column": "GPT", "equal": True, "cause": None},
    ]
    write(pd.DataFrame(summary), root / "evaluation/summary_comparison.csv", SUMMARY_COMPARISON)
    held = {"predictor": "tilecast", "family": "bmm", "device": "Tesla_T4", "n": 7, "mape_percent": 12.3}
    write(pd.DataFrame([held]), root / "predict/logo.csv", LOGO)
    _write_weighed(root)
    graph = (
        _cells()[0] | shared | {"phase": "forward", "ours": 1, "artifact": 2, "what": "product", "reason": HOSTILE}
    )
    write(pd.DataFrame([graph]).drop(columns="device"), root / "graphs/differences.csv", DIFFERENCES)
    (root / "artifact").mkdir()
    record = {
        "source": "mirror", "repository": "https://example.org/a.git", "commit": "0" * 40, "files_in_commit": 3,
        "files_verified": 2, "files_absent": 1, "bytes_verified": 9, "passed_over": [], "mirror_configured": True,
    }  # fmt: skip
    (root / "artifact/source.json").write_text(json.dumps(record))
    for figure in (error_distribution, predicted_vs_measured):
        save(figure.draw(errors), root / "figures", figure.__name__.rpartition(".")[2])
    (root / "tables").mkdir()
    (root / "tables/inference.html").write_text(
        '<table><caption>Inference</caption><thead><tr><th scope="col">GPU</th></tr></thead>'
        "<tbody><tr><td>H100</td></tr></tbody></table>"
    )
    (root / "tables/inference.csv").write_text("GPU\nH100\n")
    return root


def _write_weighed(root: Path) -> None:
    """What this project's own predictors are held against: bars, traced graphs, intervals, single kernels."""
    bar = {"group": HOSTILE, "n": 0, "theirs_percent": None, "ours_percent": None, "bar_percent": None}
    met = {
        "group": "all",
        "n": 2,
        "theirs_percent": 9.0,
        "ours_percent": 5.0,
        "bar_percent": 6.5,
        "verdict": "met",
    }
    write(pd.DataFrame([met, bar | {"verdict": "no data"}]), root / "evaluation/bars.csv", GOALS)
    blind = {"variant": HOSTILE, "basis": "recorded", "n": 2, "mape_percent": 10.72, "unseen_percent": 12.68}
    others = [{"variant": name, "basis": "computed", "mape_percent": 5.64} for name in ("a", "b", "c", "d")]
    ablation = pd.DataFrame([others[0], blind, *others[1:]]).assign(n=2, unseen_percent=6.17)
    write(ablation.reindex(columns=list(ABLATION.columns)), root / "evaluation/ablation.csv", ABLATION)
    write(constants(), root / "evaluation/constants.csv", CONSTANTS)
    write_rows(root / "evaluation/donors.csv", DONORS, {"weights": HOSTILE, "asked": "this GPU"})
    rival = {"suite": "end to end", "n": 2, "median_percent": 5.0}
    rows = [
        {"group": group, "predictor": name, "mape_percent": error, "closer_percent": closer}
        for group, name, error, closer in (
            ("all", "tilecast", 5.0, None),
            ("all", "line", 6.0, 50.0),
            (HOSTILE, "tilecast", 9.5, None),
            (HOSTILE, "line", 9.0, 40.0),
        )
    ]
    write_rows(root / "evaluation/baselines.csv", BASELINES, *(rival | row for row in rows))
    group = {"predictor": "tilecast", "device": "all", "mode": "all"}
    traced = group | {"option": "none", "distribution": "all", "n": 2, "mape_percent": 6.0, "bias_percent": 1.0}
    write_rows(root / "evaluation/own_graphs.csv", OWN_GRAPHS, traced | {"mape_percent_artifact": 5.0})
    share = {
        "n": 4,
        "claimed_percent": 80.0,
        "inside": 3,
        "coverage_percent": 75.0,
        "ci_low": 30.0,
        "ci_high": 95.0,
    }
    row = group | {"device": "NVIDIA", "gpu": "all", "distribution": "all"} | share
    covered = pd.DataFrame([row | {"width_percent": 20.0, "half_widths_needed": 1.1}])
    write(covered, root / "evaluation/coverage.csv", COVERAGE)
    one = {"suite": "training steps", "group": "all", "n": 4, "sources": 2, "claimed_percent": 80.0}
    one |= {"coverage_percent": 75.0, "chance_low": 25.0, "chance_high": 100.0, "verdict": "within chance"}
    one |= {"winkler": 0.4, "winkler_constant": 0.5, "gain_percent": 20.0}
    write_rows(root / "evaluation/interval_suites.csv", INTERVAL_SUITES, one)
    kernel = {"predictor": "li", "family": "bmm", "device": "all", "gpu": "held out", "n": 7, "mape_percent": 12.3}
    unclaimed = {"median_percent": 9.0, "bias_percent": -3.0, "coverage_percent": None, "claimed_percent": None}
    write(pd.DataFrame([kernel | unclaimed]), root / "evaluation/kernel_errors.csv", KERNEL_ERRORS)


def declared(root: Path) -> list[Path]:
    """Every file of a results folder, as a rule would name them."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def anew(results: Results, name: str) -> Results:
    """The same results, of which one file is read anew."""
    fresh = copy(results)
    fresh._tables = {other: table for other, table in results._tables.items() if other != name}
    return fresh


def without_operators(root: Path) -> None:
    """Leave of `root` what a run on transcribed figures leaves: operator, kernel and graph tables are empty."""
    tables = (OPERATOR_ERRORS, LABEL_NOISE, LABEL_NOISE_MAPE, SUMMARY_COMPARISON)
    for path, table in (
        *((f"evaluation/{table}.csv", table) for table in tables),
        ("predict/logo.csv", LOGO),
        ("graphs/differences.csv", DIFFERENCES),
    ):
        write(empty(table), root / path, table)
