"""Whether a claim's query can select anything, told before anything runs from the cells that are known by then."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable

from tilecast.base.documents import read_text
from tilecast.base.errors import InputError
from tilecast.evaluate.claims import Claims, Fact, Figures, RecordedFact
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.naming import DEVICES, MODELS, PREDICTORS, is_published, vendor

ROLLED_UP = ("mape", "operator_errors")
Cells = list[dict[str, str]]


def known_cells(published: str | os.PathLike[str], added: Iterable[str] = ()) -> Cells:
    """Every cell that is known before anything runs: transcribed latencies, and users' label files."""
    cells: Cells = []
    for path in (published, *added):
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
        try:
            cells += [{"predictor": "measured", **{str(key): str(row[key]) for key in row}} for row in rows]
        except csv.Error as error:
            raise InputError(path, f"cannot be read as a table ({error})") from None
    return cells


def check_claims(claims: Claims, facts: dict[str, RecordedFact], cells: Cells, where: object) -> None:
    """Raise InputError for a claim that names what does not exist, or that cannot select anything."""
    names = {cell["device"] for cell in cells} | set(DEVICES)
    models = {cell["model"] for cell in cells} | set(MODELS)
    for claim in claims.claims:
        place = f"{where}, claim {claim.id}"
        if isinstance(claim.query, Fact) and claim.query.fact not in facts:
            known = ", ".join(sorted(facts))
            raise InputError(place, f"fact `{claim.query.fact}` is not recorded", f"known are {known}")
        none_claimed = isinstance(claim.query, Figures) and claim.query.statistic == "count" and not claim.figure
        for query in claim.figures():
            _check_query(query, place, cells, names, models, claim.expect is not None or none_claimed)


def _check_query(
    query: Figures, place: str, cells: Cells, names: set[str], models: set[str], may_be_empty: bool
) -> None:
    known = {"device": names, "predictor": set(PREDICTORS), "model": models}
    if query.dataset in ROLLED_UP:
        known["device"] = names | {"NVIDIA", "AMD", "all"}
    if query.dataset.startswith("numa_"):  # that study's models and devices have names of their own
        known = {}
    for column, wanted in query.conditions().items():
        missing = sorted(str(value) for value in set(wanted) - known.get(column, set(wanted)))
        if missing and not (column == "model" and may_be_empty):
            raise InputError(place, f"{column} `{missing[0]}` does not exist")
    if not may_be_empty and not _selects(query, cells):
        raise InputError(
            place, "its query selects nothing", "correct it, or say `expect: no_data` and why in `note`"
        )


def _selects(query: Figures, cells: Cells) -> bool:
    """Whether the query can find a row, as far as the known cells tell."""
    if query.dataset not in ("labels", "predictions", "errors", "mape", "phase_errors"):
        return True
    wanted = query.conditions()
    predictors = wanted.pop("predictor", ())
    # What is predicted later can have an error wherever there is a label.
    if query.dataset == "labels" or any(not is_published(str(name)) for name in predictors):
        predictors = ("measured",)
    conditions = {name: {str(value) for value in values} for name, values in wanted.items() if name in CELL_KEY}
    measured = {tuple(cell[name] for name in CELL_KEY) for cell in cells if cell["predictor"] == "measured"}
    rolled = query.dataset in ROLLED_UP
    return any(
        (not predictors or cell["predictor"] in predictors)
        and (query.dataset == "predictions" or tuple(cell[name] for name in CELL_KEY) in measured)
        and all(_meets(name, cell[name], admitted, rolled) for name, admitted in conditions.items())
        for cell in cells
    )


def _meets(column: str, value: str, admitted: set[str], rolled: bool) -> bool:
    """Whether a cell's value is admitted, roll-ups included where the table has them."""
    groups = {value}
    if rolled:
        groups.add("all")
    if rolled and column == "device":
        groups.add(vendor(value))
    if rolled and column == "option" and value not in ("none", "fusion"):
        groups.add("distributed")
    return bool(groups & admitted)
