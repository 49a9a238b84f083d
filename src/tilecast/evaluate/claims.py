"""Published claims as data: what was said, and a declarative query that computes it from the tables.

Light to import: the workflow checks the claims before anything runs, so nothing here reads a table with pandas.
A claim's query is of one of five kinds: figures of a table, a recorded fact, the sum of the claim's own figures, a
relation between figures of claims, or the reason why nothing here can decide it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from tilecast.base.documents import read_text, read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Exact, Number, Section, validated
from tilecast.evaluate import expression
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import DEFECTS, GRAPHS, LABELS, PREDICTIONS
from tilecast.tables.declared.artifact import DEVICES as DEVICES_OF_ARTIFACT
from tilecast.tables.declared.evaluation import (
    ERRORS,
    LABEL_NOISE,
    MAPE,
    OPERATOR_CELLS,
    OPERATOR_ERRORS,
    PHASE_ERRORS,
    SUMMARY_COMPARISON,
)
from tilecast.tables.declared.locality import ARITHMETIC, COMPARISON, COUNTS, PREDICTED, RUNS
from tilecast.tables.declared.moe import SYSTEMS
from tilecast.tables.naming import DEVICES, MODELS, PREDICTORS, is_published, vendor

_FILES = {
    LABELS: "tidy/labels.csv",
    PREDICTIONS: "tidy/predictions.csv",
    DEVICES_OF_ARTIFACT: "tidy/devices.csv",
    GRAPHS: "tidy/graphs.parquet",
    DEFECTS: "tidy/defects.csv",
    ERRORS: "evaluation/errors.csv",
    MAPE: "evaluation/mape.csv",
    PHASE_ERRORS: "evaluation/phase_errors.csv",
    OPERATOR_CELLS: "evaluation/operator_cells.csv",
    OPERATOR_ERRORS: "evaluation/operator_errors.csv",
    LABEL_NOISE: "evaluation/label_noise.csv",
    SUMMARY_COMPARISON: "evaluation/summary_comparison.csv",
    SYSTEMS: "moe/data/all_systems_comparison.csv",
    COUNTS: "numa/counts.csv",
    ARITHMETIC: "numa/arithmetic.csv",
    PREDICTED: "numa/predicted.csv",
    RUNS: "numa/record/runs.csv",
    COMPARISON: "numa/record/comparison.csv",
}
# The tables a claim may be computed from, by the names that the claims file uses, and their files.
TABLES = {table.name: table for table in _FILES}
DATASETS = {table.name: f"results/{path}" for table, path in _FILES.items()}

ROLLED_UP = ("mape", "operator_errors")
MAIN_SUBJECT = "NeuSight"  # what the page's first screen counts claims about
SLACK = Decimal("1e-9")  # of the larger figure: what sums of floating-point numbers may be off
LARGEST_EXPONENT = 30  # of a claimed figure, as a power of ten


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


Scalar = Annotated[str | int | float | bool, BeforeValidator(_plain)]
Statistic = Literal["mean", "accuracy", "median", "p90", "max", "min", "sum", "count", "value"]


class Figures(Section):
    """A statistic of one column over the rows of a table that meet every condition."""

    dataset: Literal[tuple(DATASETS)]  # type: ignore[valid-type]
    where: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    column: str | None = None
    statistic: Statistic
    scale: Number = 1.0

    @model_validator(mode="after")
    def _is_computable(self) -> Figures:
        columns = TABLES[self.dataset].columns
        for name in (*self.where, *([self.column] if self.column else [])):
            if name not in columns:
                raise ValueError(f"table {self.dataset} has no column `{name}`; it has {', '.join(columns)}")
        if self.statistic != "count" and (
            self.column is None or columns[self.column].kind not in ("number", "integer")
        ):
            raise ValueError(f"statistic {self.statistic} needs `column`, a column of numbers")
        for name, wanted in self.conditions().items():
            if columns[name].values is not None and set(wanted) - set(columns[name].values or ()):
                known = ", ".join(columns[name].values or ())
                raise ValueError(f"{name} {wanted} is not known; {self.dataset} has {known}")
        return self

    def conditions(self) -> dict[str, tuple[Scalar, ...]]:
        """Column -> admitted values."""
        return {name: tuple(value) if isinstance(value, list) else (value,) for name, value in self.where.items()}


class Fact(Section):
    """Something recorded about the artifact or the paper, to compare the claimed words with."""

    fact: str


class Arithmetic(Section):
    """The sum of figures the document itself gives."""

    terms: list[Exact] = Field(min_length=1)


class Relation(Section):
    """An expression of figures of other claims: as they state them (`of`), or as they come out (`recomputed`)."""

    relation: str
    of: dict[str, str] = Field(default_factory=dict)  # name in the expression -> claim
    recomputed: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> Relation:
        wanted = expression.names(expression.parsed(self.relation))
        given = {*self.of, *self.recomputed}
        if wanted != given or set(self.of) & set(self.recomputed):
            odd = ", ".join(sorted(wanted ^ given)) or "a name given twice"
            raise ValueError(f"the names of {self.relation!r} and of its claims differ: {odd}")
        return self


class NotTestable(Section):
    """A statement that nothing here can decide."""

    not_testable: str = Field(min_length=1)


def _kind(query: Any) -> str | None:
    """Which of the five kinds of query is meant, by the key that only this kind has."""
    keys = ("dataset", "fact", "terms", "relation", "not_testable")
    return next((f"has {key}" for key in keys if isinstance(query, dict) and key in query), None)


Query = Annotated[
    Annotated[Figures, Tag("has dataset")]
    | Annotated[Fact, Tag("has fact")]
    | Annotated[Arithmetic, Tag("has terms")]
    | Annotated[Relation, Tag("has relation")]
    | Annotated[NotTestable, Tag("has not_testable")],
    Discriminator(
        _kind,
        custom_error_type="query",
        custom_error_message="expected one of `dataset`, `fact`, `terms`, `relation` and `not_testable`",
    ),
]


class Claim(Section):
    """One published claim."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: str
    quote: str = Field(min_length=1)
    claimed: Annotated[str, BeforeValidator(_written)]  # the text of the file: 8.10 has two decimals
    unit: str | None = None
    tolerance: Annotated[Exact, Field(ge=0)] = Decimal(0)
    comparison: Literal["equals", "at_most", "at_least"] = "equals"
    query: Query
    expect: Literal["no_data"] | None = None
    search: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Claim:
        if isinstance(self.query, Figures | Arithmetic | Relation) and self.number is None:
            raise ValueError(f"claimed {self.claimed!r} is not a finite number, but its query computes one")
        if self.expect and not self.note:
            raise ValueError("`expect: no_data` needs `note`, the reason why there are none")
        return self

    @property
    def number(self) -> Decimal | None:
        """The figure the claim states; None where it states words."""
        try:
            number = Decimal(self.claimed)
        except InvalidOperation:
            return None
        return number if number.is_finite() and abs(number.adjusted()) <= LARGEST_EXPONENT else None

    @property
    def figure(self) -> Decimal:
        """The figure of a claim that states one."""
        assert self.number is not None, self.id
        return self.number

    @property
    def decimals(self) -> int:
        """Digits after the point the claim is printed with."""
        exponent = self.figure.as_tuple().exponent
        assert isinstance(exponent, int)
        return max(0, -exponent)

    @property
    def half_unit(self) -> Decimal:
        """Half a unit of the last digit printed."""
        return Decimal(5).scaleb(-self.decimals - 1)

    def off(self, value: float) -> Decimal:
        """How far `value` is from the claim, in the direction it denies, less what adding floats may be off."""
        found = Decimal(str(float(value)))
        far = {"equals": abs(found - self.figure), "at_most": found - self.figure, "at_least": self.figure - found}
        return far[self.comparison] - SLACK * max(abs(found), abs(self.figure))


class Document(Section):
    """A document that makes claims."""

    title: str
    about: str = ""
    subject: str = MAIN_SUBJECT


class Claims(Section):
    """The claims file."""

    documents: dict[str, Document]
    claims: list[Claim]

    def datasets(self) -> list[str]:
        """The tables the claims need; errors always, the search for other definitions runs over them."""
        used: set[str] = {claim.query.dataset for claim in self.claims if isinstance(claim.query, Figures)}
        return sorted(used | {"errors"})


class RecordedFact(Section):
    """One recorded fact: its value, what it rests on, and where that is written."""

    value: str
    detail: str = ""
    source: str


class Facts(Section):
    """The file of recorded facts."""

    facts: dict[str, RecordedFact]


def load_claims(path: str | os.PathLike[str]) -> Claims:
    """Read and check the claims file; InputError names the claim at fault."""
    claims = validated(Claims, read_yaml(path, exact=True), path, "docs/use/claims.md lists the keys")
    known: dict[str, Claim] = {}
    for claim in claims.claims:
        if claim.id in known:
            raise InputError(f"{path}, claim {claim.id}", "occurs twice", "give each claim its own id")
        if claim.source not in claims.documents:
            raise InputError(f"{path}, claim {claim.id}", f"source `{claim.source}` is not among `documents`")
        known[claim.id] = claim
    for claim in claims.claims:  # a relation needs the figures of the claims it names
        query, place = claim.query, f"{path}, claim {claim.id}"
        if not isinstance(query, Relation):
            continue
        for name, other in {**query.of, **query.recomputed}.items():
            if other not in known:
                raise InputError(place, f"`{name}` is of claim `{other}`, which does not exist")
            if name in query.recomputed and not isinstance(known[other].query, Figures):
                raise InputError(place, f"`{name}`: claim `{other}` does not recompute a figure from a table")
            if known[other].number is None:
                raise InputError(place, f"`{name}`: claim `{other}` states no number")
    return claims


def load_facts(path: str | os.PathLike[str]) -> dict[str, RecordedFact]:
    """Read and check the file of recorded facts."""
    return validated(Facts, read_yaml(path), path).facts


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
        query = claim.query
        if isinstance(query, Fact) and query.fact not in facts:
            raise InputError(
                place, f"fact `{query.fact}` is not recorded", f"known are {', '.join(sorted(facts))}"
            )
        if not isinstance(query, Figures):
            continue
        known = {"device": names, "predictor": set(PREDICTORS), "model": models}
        if query.dataset in ROLLED_UP:
            known["device"] = names | {"NVIDIA", "AMD", "all"}
        if query.dataset.startswith("numa_"):  # that study's models and devices have names of their own
            known = {}
        for column, wanted in query.conditions().items():
            missing = sorted(str(value) for value in set(wanted) - known.get(column, set(wanted)))
            if missing and not (column == "model" and claim.expect == "no_data"):
                raise InputError(place, f"{column} `{missing[0]}` does not exist")
        if claim.expect is None and not _selects(query, cells):
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
