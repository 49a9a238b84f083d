"""This project's own predictors: goals, constants, kernels of GPUs not seen, graphs traced here, intervals."""

from __future__ import annotations

from typing import Any

from tilecast.evaluate.statistics import error_summary
from tilecast.present.page.results import Results
from tilecast.present.page.sections import rivals
from tilecast.present.page.shown import arranged, records, shown
from tilecast.tables.declared.evaluation import (
    ABLATION,
    BASELINES,
    COVERAGE,
    DONORS,
    GOALS,
    INTERVAL_SUITES,
    KERNEL_ERRORS,
    OWN_GRAPHS,
)
from tilecast.tables.declared.predict import CONSTANTS, LOGO
from tilecast.tables.naming import DEVICES, FAMILIES, PREDICTORS, ordered
from tilecast.tables.schema import amount

Context = dict[str, Any]


def context(results: Results) -> Context:
    """The tables of the section, each without rows where its file was not computed."""
    constants = results.table("evaluation/constants.csv", CONSTANTS)
    goals = results.table("evaluation/bars.csv", GOALS)
    graphs = results.table("evaluation/own_graphs.csv", OWN_GRAPHS)
    plain = (graphs["device"] == "all") & (graphs["option"] == "none") & (graphs["distribution"] == "all")
    cover = results.table("evaluation/coverage.csv", COVERAGE)
    # Only NVIDIA's GPUs are of both kinds, in training and held out.
    whole = (cover["mode"] == "all") & (cover["distribution"] == "all") & (cover["device"] != "all")
    whole &= (cover["gpu"] != "all") | (cover["device"] == "NVIDIA")
    kernels = results.table("evaluation/kernel_errors.csv", KERNEL_ERRORS)
    kernels = kernels[(kernels["device"] == "all") & (kernels["gpu"] != "all")].sort_values("gpu")
    return {
        **_left_out(results),
        "ablation": shown(
            results.table("evaluation/ablation.csv", ABLATION),
            ABLATION,
            "variant basis value without n mape_percent seen_percent unseen_percent "
            "h100_percent l4_percent t4_percent p4_percent",
        ),
        "rivals": rivals.context(
            results.table("evaluation/baselines.csv", BASELINES), BASELINES, ("suite", "group")
        ),
        "constants": shown(constants, CONSTANTS, "module name values unit meaning source chosen"),
        "donors": shown(results.table("evaluation/donors.csv", DONORS), DONORS, " ".join(DONORS.columns)),
        "chosen": constants["chosen"].value_counts().to_dict(),
        "goals": shown(goals, GOALS, "group n theirs_percent ours_percent bar_percent verdict"),
        "reached": {word: int((goals["verdict"] == word).sum()) for word in ("met", "missed")},
        "graphs": shown(
            arranged(graphs[plain], "predictor", "mode"),
            OWN_GRAPHS,
            "predictor mode n mape_percent mape_percent_artifact",
        ),
        "coverage": shown(
            arranged(cover[whole], "device"),
            COVERAGE,
            "predictor device gpu n claimed_percent coverage_percent ci_low ci_high width_percent",
        ),
        "suites": shown(
            results.table("evaluation/interval_suites.csv", INTERVAL_SUITES),
            INTERVAL_SUITES,
            "suite group n coverage_percent chance_low chance_high verdict winkler winkler_constant gain_percent",
        ),
        "kernels": shown(
            arranged(arranged(kernels, "predictor").sort_values("gpu", kind="stable"), "family"),
            KERNEL_ERRORS,
            "family gpu predictor n mape_percent median_percent bias_percent coverage_percent",
        ),
        "links": {
            name: results.links(f"{path}.csv")
            for name, path in {
                "ablation": "evaluation/ablation",
                "constants": "evaluation/constants",
                "rivals": "evaluation/baselines",
                "logo": "predict/logo",
                "donors": "evaluation/donors",
                "goals": "evaluation/bars",
                "graphs": "evaluation/own_graphs",
                "coverage": "evaluation/coverage",
                "suites": "evaluation/interval_suites",
                "kernels": "evaluation/kernel_errors",
            }.items()
        },
    }


def _left_out(results: Results) -> Context:
    """Leave-one-GPU-out error of every predictor by kernel family, a column a GPU."""
    rows = records(results.table("predict/logo.csv", LOGO))
    devices = ordered(DEVICES, (row["device"] for row in rows))
    cells = {(row["family"], row["predictor"], row["device"]): row for row in rows}
    table = []
    for family in ordered(FAMILIES, (row["family"] for row in rows)):
        for predictor in ordered(PREDICTORS, (row["predictor"] for row in rows)):
            found = [cells[key] for name in devices if (key := (family, predictor, name)) in cells]
            if found:
                errors = {cell["device"]: cell["mape_percent"] for cell in found}
                counts = sum(cell["n"] for cell in found)
                mean = error_summary(list(errors.values()))["mape_percent"]
                about = {"family": family, "predictor": predictor, "n": counts, "mean": mean}
                table.append(dict.fromkeys(devices) | errors | about)
    columns = {name: amount("MAPE", title=DEVICES.get(name, name), unit="%", empty="not done") for name in devices}
    columns["mean"] = amount("MAPE", title="Mean of GPUs", unit="%")
    return {"left_out": shown(table, LOGO, " ".join(["family predictor n", *columns]), **columns)}
