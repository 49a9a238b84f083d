"""This project's own predictors: goals, kernels of GPUs not seen, graphs traced here, and intervals."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.tables.declared.evaluation import COVERAGE, KERNEL_ERRORS
from tilecast.tables.naming import DEVICES, FAMILIES, MODES, PREDICTORS, display, ordered

LOGO_COLUMNS = ("predictor", "family", "device", "n", "mape_percent")
BARS_COLUMNS = ("group", "n", "theirs_percent", "ours_percent", "bar_percent", "verdict")
GRAPH_COLUMNS = (
    "predictor",
    "device",
    "mode",
    "option",
    "distribution",
    "n",
    "mape_percent",
    "mape_percent_artifact",
)
NOT_CLAIMED = "none claimed"
Context = dict[str, Any]


def context(results: Results) -> Context:
    """The five tables of the section, each empty where its file was not computed."""
    return {
        **_left_out(results),
        "bars": _bars(results),
        "graphs": _graphs(results),
        "coverage": _coverage(results),
        "kernels": _kernels(results),
    }


def _bars(results: Results) -> Context:
    """Every goal with the authors' figure and ours; how many are met."""
    frame = results.free("evaluation/bars.csv", BARS_COLUMNS)
    columns = (
        Column("group", "Cells"),
        Column("n", "n", digits=0),
        Column("theirs_percent", PREDICTORS["neusight_published"], "%", 1, "no data"),
        Column("ours_percent", PREDICTORS["tilecast"], "%", 1, "no data"),
        Column("bar_percent", "Goal", "%", 1, "no data"),
        Column("verdict", "Verdict"),
    )
    rows = [] if frame is None else frame.astype(object).where(frame.notna(), None).to_dict("records")
    counts = {word: sum(row["verdict"] == word for row in rows) for word in ("met", "open")}
    links = results.links("evaluation", "bars", (".csv",))
    return {"columns": columns, "rows": rows, "links": links, **counts}


def _graphs(results: Results) -> Context:
    """MAPE of each predictor on graphs traced here, and on the artifact's for the same cells."""
    frame = results.free("evaluation/own_graphs.csv", GRAPH_COLUMNS)
    columns = (
        Column("predictor", "Predictor"),
        Column("mode", "Mode"),
        Column("n", "n", digits=0),
        Column("mape_percent", "Traced here", "%", 1),
        Column("mape_percent_artifact", "Artifact’s graphs", "%", 1, "needs the full artifact"),
    )
    rows = []
    if frame is not None:
        whole = frame[(frame["device"] == "all") & (frame["option"] == "none") & (frame["distribution"] == "all")]
        for predictor in ordered(PREDICTORS, whole["predictor"]):
            for mode in ("all", *MODES):
                for row in whole[(whole["predictor"] == predictor) & (whole["mode"] == mode)].to_dict("records"):
                    names = {"predictor": display(PREDICTORS, predictor), "mode": display(MODES, mode)}
                    rows.append(row | names)
    return {"columns": columns, "rows": rows, "links": results.links("evaluation", "own_graphs", (".csv",))}


def _coverage(results: Results) -> Context:
    """How many measured cells lie inside their claimed interval, for GPUs in training, held out, and each."""
    frame = results.table("evaluation/coverage.csv", COVERAGE)
    columns = (
        Column("predictor", "Predictor"),
        Column("device", "GPU"),
        Column("gpu", "Training"),
        Column("n", "n", digits=0),
        Column("claimed_percent", "Claimed", "%", 0),
        Column("coverage_percent", "Inside", "%", 1),
        Column("ci_low", "from", "%", 0),
        Column("ci_high", "to", "%", 0),
        Column("width_percent", "Mean width", "%", 1),
    )
    rows = []
    if frame is not None:
        whole = frame[(frame["mode"] == "all") & (frame["distribution"] == "all") & (frame["device"] != "all")]
        names = {"NVIDIA": "NVIDIA, all", "AMD": "AMD, all"} | DEVICES
        for device in ordered(names, whole["device"]):
            for row in whole[whole["device"] == device].to_dict("records"):
                if row["gpu"] == "all" and device != "NVIDIA":  # no other has GPUs of both kinds
                    continue
                shown = {"predictor": display(PREDICTORS, row["predictor"]), "device": display(names, device)}
                rows.append(row | shown | {"gpu": "either" if row["gpu"] == "all" else row["gpu"]})
    return {"columns": columns, "rows": rows, "links": results.links("evaluation", "coverage", (".csv",))}


def _kernels(results: Results) -> Context:
    """Errors on the artifact's held-out kernels, a row a predictor and family, GPUs in training or not apart."""
    frame = results.table("evaluation/kernel_errors.csv", KERNEL_ERRORS)
    columns = (
        Column("family", "Kernels"),
        Column("gpu", "GPU"),
        Column("predictor", "Predictor"),
        Column("n", "n", digits=0),
        Column("mape_percent", "MAPE", "%", 1),
        Column("median_percent", "Median", "%", 1),
        Column("bias_percent", "Bias", "%", 1),
        Column("coverage_percent", "Inside 80 %", "%", 0, NOT_CLAIMED),
    )
    rows = []
    if frame is not None:
        whole = frame[(frame["device"] == "all") & (frame["gpu"] != "all")]
        for family in ordered(FAMILIES, whole["family"]):
            for gpu in sorted(whole["gpu"].unique()):
                part = whole[(whole["family"] == family) & (whole["gpu"] == gpu)]
                for predictor in ordered(PREDICTORS, part["predictor"]):
                    row = part[part["predictor"] == predictor].to_dict("records")[0]
                    names = {"family": display(FAMILIES, family), "predictor": display(PREDICTORS, predictor)}
                    rows.append(row | names)
    return {"columns": columns, "rows": rows, "links": results.links("evaluation", "kernel_errors", (".csv",))}


def _left_out(results: Results) -> Context:
    """Leave-one-GPU-out error of every predictor by kernel family, a column a GPU."""
    frame = results.free("predict/logo.csv", LOGO_COLUMNS)
    assert frame is not None
    devices = ordered(DEVICES, frame["device"])
    families = ordered(FAMILIES, frame["family"])
    cells = {(row["predictor"], row["family"], row["device"]): row for row in frame.to_dict("records")}
    rows = []
    for family in families:
        for predictor in ordered(PREDICTORS, frame["predictor"]):
            found = {name: cells.get((predictor, family, name)) for name in devices}
            errors = [cell["mape_percent"] for cell in found.values() if cell is not None]
            if not errors:
                continue
            row: dict[str, Any] = {
                "family": display(FAMILIES, family),
                "predictor": display(PREDICTORS, predictor),
            }
            row["n"] = sum(cell["n"] for cell in found.values() if cell is not None)
            row["mean"] = sum(errors) / len(errors)
            rows.append(row | {name: cell and cell["mape_percent"] for name, cell in found.items()})
    columns = (
        Column("family", "Kernels"),
        Column("predictor", "Predictor"),
        Column("n", "n", digits=0),
        *(Column(name, display(DEVICES, name), "%", 1, "not done") for name in devices),
        Column("mean", "Mean of GPUs", "%", 1),
    )
    return {"rows": rows, "columns": columns, "links": results.links("predict", "logo", (".csv",))}
