"""This project's own predictors on the kernels of GPUs they have not seen."""

from __future__ import annotations

from typing import Any

from tilecast.naming import DEVICES, FAMILIES, PREDICTORS, display, ordered
from tilecast.report.render import Column
from tilecast.report.results import Results

LOGO_COLUMNS = ("predictor", "family", "device", "n", "mape_percent")


def context(results: Results) -> dict[str, Any]:
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
        *(Column(name, display(DEVICES, name), "%", 1, "no kernels") for name in devices),
        Column("mean", "Mean of GPUs", "%", 1),
    )
    return {"rows": rows, "columns": columns, "links": results.links("predict", "logo", (".csv",))}
