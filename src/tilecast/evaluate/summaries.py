"""The artifact's own summary tables, recomputed from its labels and predictions and compared cell by cell.

Every figure is compared at the precision it is printed with. Where one differs, its cause is found by rule: each
explanation is a computation that has to give the published figure, or a fact about which files are there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from tilecast.artifact.names import SUMMARIES
from tilecast.base.errors import InputError
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.errors import distribution
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import SUMMARY_COMPARISON
from tilecast.tables.io import check, empty
from tilecast.tables.naming import DEVICES, vendor

MODELS = {
    "BERT-Large": ("bert_large", 512),
    "BERT": ("bert_large", 512),
    "GPT2-Large": ("gpt2_large", 1024),
    "GPT3-XL": ("gpt3_xl", 2048),
    "OPT-1.3B": ("opt_13", 2048),
    "GPT3-2.7B": ("gpt3_27", 2048),
    "SwitchTrans": ("switchxl4", 512),
}
PREDICTORS = {
    "Roofline": "roofline_published",
    "Habitat": "habitat_published",
    "Li et al.": "li_published",
    "NeuSight": "neusight_published",
}
CLASSES = {"BMM": "bmm", "FC": "linear", "EW": "elementwise", "Softmax": "softmax", "LN": "norm"}
RAW_CLASSES = {"bmm": "BMM", "linear": "Linear", "elementwise": "VEC", "softmax": "VECsoftmax", "norm": "VECln"}
RAW_PREDICTORS = {"li_published": "micro"}
SYSTEMS = {"A100x4": "NVIDIA_A100-SXM4-40GB", "H100x4": "NVIDIA_H100_80GB_HBM3"}
LAYOUTS = {"DP": "dp4", "TP": "tp4", "PP": "pp4_1"}
FUSED = {"Non-fused": "none", "Fused": "fusion"}
SHORT = {short: device for device, short in DEVICES.items()}

Rows = list[list[str]]
Cell = tuple[str, str, str, int, int, str]
FIGURE = re.compile(r"(\d+(?:\.(\d+))?)%?(?: \((\d+(?:\.(\d+))?)%\))?")
MEASURED, PREDICTED, ERROR = "measured ms", "predicted ms", "error %"


class Printed(NamedTuple):
    """One place of a summary table: what is printed there (nothing: None), and what it stands for."""

    table: str
    row: str
    column: str
    figure: float | None
    decimals: int
    quantity: str = ERROR
    predictor: str = ""
    cell: Cell = ("", "", "", 0, 0, "")


def _figures(text: str) -> list[tuple[float | None, int]]:
    """`510.5 (12.9%)` as [(510.5, 1), (12.9, 1)]; nothing printed as [(None, 1)]."""
    if not text.strip():
        return [(None, 1)]
    found = FIGURE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a figure")
    first, first_decimals, second, second_decimals = found.groups()
    figures: list[tuple[float | None, int]] = [(float(first), len(first_decimals or ""))]
    if second is not None:
        figures.append((float(second), len(second_decimals or "")))
    return figures


def _filled(header: list[str]) -> list[str]:
    """A header whose spanning titles are written once, repeated over the columns they span."""
    titles: list[str] = []
    for title in header:
        titles.append(title or (titles[-1] if titles else ""))
    return titles


def _error_rows(
    table: str, device: str, mode: str, block: Rows, predictors: Mapping[str, str]
) -> Iterator[Printed]:
    """The rows of a block whose first two lines name models and batch sizes."""
    models, batches = _filled(block[0]), block[1]
    for line in block[2:]:
        target, predictor = (device, predictors[line[0]]) if device else (SHORT[line[0]], "neusight_published")
        for place in range(1, min(len(line), len(batches))):
            if not batches[place]:
                continue
            model, length = MODELS[models[place]]
            ((figure, decimals),) = _figures(line[place])
            row = f"{DEVICES[target]}, {line[0]}" if device else line[0]
            cell = (target, model, mode, length, int(batches[place]), "none")
            column = f"{models[place]}, batch {batches[place]}"
            yield Printed(table, row, column, figure, decimals, ERROR, predictor, cell)


def _nvidia(table: str, mode: str, rows: Rows) -> Iterator[Printed]:
    block: Rows = []
    for line in [*rows, []]:
        if any(line):
            block.append(line)
        elif block:
            yield from _error_rows(table, block[0][0], mode, block[1:], PREDICTORS)
            block = []


def _latency_rows(
    table: str, mode: str, devices: Mapping[str, str], options: Mapping[str, str], rows: Rows
) -> Iterator[Printed]:
    """Pairs of lines, measured and predicted, a model and batch size; a column is a device and an option."""
    systems, kinds = _filled(rows[0]), rows[1]
    models = _filled([line[0] for line in rows[2::2]])
    for name, measured, predicted in zip(models, rows[2::2], rows[3::2], strict=True):
        model, length = MODELS[name]
        batch = int(measured[1].removeprefix("batch="))
        for place, kind in enumerate(kinds):
            if kind not in options:
                continue
            cell = (devices[systems[place]], model, mode, length, batch, options[kind])
            for line, quantities in ((measured, (MEASURED,)), (predicted, (PREDICTED, ERROR))):
                figures = _figures(line[place])
                for index, quantity in enumerate(quantities):
                    figure, decimals = figures[index] if index < len(figures) else (None, 1)
                    row, column = f"{name} {measured[1]}", f"{systems[place]} {kind}, {quantity}"
                    yield Printed(table, row, column, figure, decimals, quantity, "neusight_published", cell)


READERS = {
    "nvidia_inf": lambda rows: _nvidia("nvidia_inf", "inference", rows),
    "nvidia_train": lambda rows: _nvidia("nvidia_train", "training", rows),
    "amd_inf": lambda rows: _error_rows("amd_inf", "", "inference", rows, {}),
    "amd_train": lambda rows: _error_rows("amd_train", "", "training", rows, {}),
    "fusion_inf": lambda rows: _latency_rows("fusion_inf", "inference", SHORT, FUSED, rows),
    "distributed": lambda rows: _latency_rows("distributed", "training", SYSTEMS, LAYOUTS, rows),
}


def _same(value: float, figure: float, decimals: int) -> bool:
    """Whether `value` is what `figure` prints, whichever way a tie is rounded."""
    return abs(value - figure) <= 0.5 * 10**-decimals + 1e-9 * abs(figure)


def _row(place: Printed, value: float | None, cause: str) -> dict[str, object]:
    """A row of the comparison; the cause is given only where the two figures differ."""
    figure = place.figure
    equal = figure is not None and value is not None and _same(value, figure, place.decimals)
    return {
        "table": place.table,
        "row": place.row,
        "column": place.column,
        "published": figure,
        "recomputed": value,
        "equal": equal,
        "difference": None if value is None or figure is None else value - figure,
        "cause": None if equal else cause,
    }


class _Latencies:
    """Measured and predicted latencies by cell."""

    def __init__(self, labels: pd.DataFrame, predictions: pd.DataFrame) -> None:
        def by(frame: pd.DataFrame, key: list[str]) -> dict[tuple[object, ...], float]:
            return dict(zip(frame[key].itertuples(index=False, name=None), frame["latency_ms"], strict=True))

        self.measured = by(labels, list(CELL_KEY))
        self.predicted = by(predictions, ["predictor", *CELL_KEY])

    def value(self, quantity: str, predictor: str, cell: Cell) -> float | None:
        """One quantity of a cell, None where a latency it needs is not there."""
        measured, predicted = self.measured.get(cell), self.predicted.get((predictor, *cell))
        if quantity == MEASURED:
            return measured
        if quantity == PREDICTED or predicted is None or measured is None:
            return predicted if quantity == PREDICTED else None
        return float(absolute_error_percent(predicted, measured, difference_first=True))

    def missing(self, predictor: str, cell: Cell) -> str:
        """Which of a cell's two files is not there."""
        there = {
            "measured latency": cell in self.measured,
            "prediction": (predictor, *cell) in self.predicted,
        }
        absent = " and no ".join(name for name, known in there.items() if not known)
        return f"no {absent} of this cell among the files read"

    def elsewhere(self, place: Printed) -> str:
        """Another reading of the same cell that gives the published figure, or that none was found."""
        assert place.figure is not None
        for predictor in PREDICTORS.values():
            for cell in self.measured:
                if cell[:4] != place.cell[:4] or (predictor, cell) == (place.predictor, place.cell):
                    continue
                value = self.value(place.quantity, predictor, cell)  # type: ignore[arg-type]
                if value is not None and _same(value, place.figure, place.decimals):
                    return f"the published figure is that of {predictor} at batch {cell[4]}, option {cell[5]}"
        return "labels and predictions give another figure; no other cell of this device and model gives it"


def _compare_place(place: Printed, latencies: _Latencies) -> dict[str, object] | None:
    """The comparison of one place; None where nothing is printed and nothing can be computed."""
    value = latencies.value(place.quantity, place.predictor, place.cell)
    if place.figure is None and value is None:
        return None
    if value is None:
        return _row(place, None, latencies.missing(place.predictor, place.cell))
    if place.figure is None:
        measured = "and" if place.cell in latencies.measured else "but never"
        return _row(place, value, f"left blank by the artifact: the cell was predicted {measured} measured")
    same = _same(value, place.figure, place.decimals)
    return _row(place, value, "" if same else latencies.elsewhere(place))


def _per_operator(rows: Rows, raw: pd.DataFrame, operators: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of the per-operator table: means of class errors over plain NVIDIA cells."""
    cells = operators[(operators["option"] == "none") & (operators["device"].map(vendor) == "NVIDIA")]
    raw = raw.rename(columns={"model_name": "model", "seqlen": "sequence_length", "batch": "batch_size"})
    raw = raw[raw["option"].isin(["nan", "none"]) & (raw["device"].map(vendor) == "NVIDIA")].copy()
    raw["mode"] = raw["mode"].map({"inf": "inference", "train": "training"})
    raw["distribution"] = distribution(raw["device"], raw["model"])
    key = ["device", "model", "mode", "sequence_length", "batch_size"]
    sides = _filled(rows[0])
    for line in rows[2:]:
        predictor = PREDICTORS[line[0]]
        for place in range(1, len(rows[1])):
            if not line[place]:
                continue
            name, side = CLASSES[rows[1][place]], "in" if sides[place].startswith("In") else "out"
            chosen = cells[
                (cells["predictor"] == predictor)
                & (cells["operator_class"] == name)
                & (cells["distribution"] == side)
            ]
            raw_name = RAW_PREDICTORS.get(predictor, predictor.removesuffix("_published"))
            theirs = raw.loc[raw["distribution"] == side, [*key, f"{raw_name}_{RAW_CLASSES[name]}_e2e_err"]]
            theirs = theirs.set_axis([*key, "theirs"], axis=1).dropna()
            both = theirs.merge(chosen[[*key, "ape_percent"]], on=key, how="left")
            absent = int(both["ape_percent"].isna().sum())
            completed = both["ape_percent"].fillna(both["theirs"]).mean()
            value = float(chosen["ape_percent"].mean()) if len(chosen) else None
            printed = Printed("perop", line[0], f"{sides[place]}, {rows[1][place]}", float(line[place]), 9)
            cause = "labels and predictions give another figure"
            if absent:
                cause = f"{absent} of its {len(both)} cells have no measured operators among the files read"
            if absent and _same(float(completed), float(line[place]), 9):
                cause = (
                    f"the measured operators of {absent} of its {len(both)} cells are not among the files read "
                    "(SwitchTransformer); with the errors summary.csv states for these the figure is exact"
                )
            yield _row(printed, value, cause)


def compare_summaries(
    files: Mapping[str, bytes], labels: pd.DataFrame, predictions: pd.DataFrame, operators: pd.DataFrame
) -> pd.DataFrame:
    """The `summary_comparison` table of all seven summary tables found among `files` (path -> content)."""
    latencies = _Latencies(labels, predictions)
    tables = {path.removeprefix(SUMMARIES).removesuffix(".csv"): path for path in sorted(files)}
    found: list[dict[str, object]] = []
    for name, path in tables.items():
        if name != "perop" and name not in READERS:
            continue
        try:
            rows = list(csv.reader(io.StringIO(files[path].decode())))
            if name == "perop":
                raw = pd.read_csv(io.BytesIO(files[tables["summary"]]), dtype={"option": "str"})
                raw["option"] = raw["option"].fillna("none")
                found += _per_operator(rows, raw, operators)
            else:
                compared = (_compare_place(place, latencies) for place in READERS[name](rows))
                found += [row for row in compared if row is not None]
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(
                path, f"is not the summary table expected ({error})", "compare it with the artifact"
            ) from error
    if not found:
        return empty(SUMMARY_COMPARISON)
    return check(pd.DataFrame(found), SUMMARY_COMPARISON, "summary_comparison table")
