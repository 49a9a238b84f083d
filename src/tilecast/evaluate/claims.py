"""Published claims as data: what was said, and a declarative query that computes it from the tables.

Light to import: the workflow checks the claims before anything runs, so nothing here reads a table with pandas.
A claim's query is of one of five kinds: figures of a table, a recorded fact, the sum of the claim's own figures, a
relation between figures of claims, or the reason why nothing here can decide it.
"""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Exact, Number, Section, validated
from tilecast.evaluate import expression
from tilecast.tables.declared.artifact import DEFECTS, GRAPHS, LABELS, PREDICTIONS
from tilecast.tables.declared.artifact import DEVICES as DEVICES_OF_ARTIFACT
from tilecast.tables.declared.claims import KINDS, WHOSE
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
from tilecast.tables.naming import DEVICES

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

MODELLED = ("moe_systems", "numa_predicted", "numa_arithmetic")  # tables that hold forecasts of this project alone
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
    """An expression of figures: of claims as they state them (`of`), or of tables (`recomputed`)."""

    relation: str
    of: dict[str, str] = Field(default_factory=dict)  # name in the expression -> claim
    recomputed: dict[str, Figures] = Field(default_factory=dict)

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
    title: str = Field(min_length=1, max_length=120)
    source: str
    quote: str = Field(min_length=1)
    # The text of the file: 8.10 has two decimals, and `4 to 6` is a range.
    claimed: Annotated[str, BeforeValidator(_written)]
    unit: str | None = None
    tolerance: Annotated[Exact, Field(ge=0)] = Decimal(0)
    comparison: Literal["equals", "at_most", "at_least"] = "equals"
    query: Query
    kind: Literal[KINDS] | None = None  # type: ignore[valid-type]  # by default what the query tells
    hardware: str = ""  # by default the devices that the query names
    expect: Literal["no_data", "not_testable"] | None = None  # the verdict where the query selects nothing
    search: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Claim:
        if isinstance(self.query, Figures | Arithmetic | Relation) and self.bounds is None:
            raise ValueError(f"claimed {self.claimed!r} is not a finite number, but its query computes one")
        if self.is_range and (self.tolerance or self.comparison != "equals"):
            raise ValueError("a range takes neither `tolerance` nor `comparison`: it is met inside")
        if self.expect and not self.note:
            raise ValueError(f"`expect: {self.expect}` needs `note`, the reason why there are none")
        return self

    @property
    def bounds(self) -> tuple[Decimal, Decimal] | None:
        """Both ends of the range the claim states, or its figure twice; None where it states words."""
        try:
            ends = [Decimal(end) for end in self.claimed.split(" to ")]
        except InvalidOperation:
            return None
        sound = all(end.is_finite() and abs(end.adjusted()) <= LARGEST_EXPONENT for end in ends)
        return (ends[0], ends[-1]) if sound and len(ends) <= 2 and ends[0] <= ends[-1] else None

    @property
    def is_range(self) -> bool:
        """Whether the claim states two ends."""
        return self.bounds is not None and " to " in self.claimed

    @property
    def figure(self) -> Decimal:
        """The figure of a claim that states one; the middle of a range."""
        assert self.bounds is not None, self.id
        low, high = self.bounds
        return (low + high) / 2

    @property
    def decimals(self) -> int:
        """Digits after the point the claim is printed with."""
        exponents = [end.as_tuple().exponent for end in self.bounds or ()]
        return max(0, *(-exponent for exponent in exponents if isinstance(exponent, int)))

    @property
    def half_unit(self) -> Decimal:
        """Half a unit of the last digit printed; a range has sharp ends."""
        return Decimal(0) if self.is_range else Decimal(5).scaleb(-self.decimals - 1)

    def off(self, value: float) -> Decimal:
        """How far `value` is from the claim, in the direction it denies, less what adding floats may be off."""
        assert self.bounds is not None, self.id
        found, (low, high) = Decimal(str(float(value))), self.bounds
        far = {"equals": max(low - found, found - high), "at_most": found - high, "at_least": low - found}
        return far[self.comparison] - SLACK * max(abs(found), abs(high))

    def figures(self) -> list[Figures]:
        """The queries of tables that the claim's value rests on."""
        if isinstance(self.query, Relation):
            return list(self.query.recomputed.values())
        return [self.query] if isinstance(self.query, Figures) else []

    def modelled(self) -> bool:
        """Whether the value is a forecast of this project, and nothing measured."""
        return any(query.dataset in MODELLED for query in self.figures())

    def sort(self) -> str:
        """One of KINDS: as the claim says, or by what its query rests on."""
        if self.kind:
            return self.kind
        if isinstance(self.query, Fact):
            return "citation"
        if isinstance(self.query, NotTestable) or self.modelled():
            return "expectation for a machine"
        if not self.figures() or any(query.dataset == "numa_counts" for query in self.figures()):
            return "arithmetic"
        counted = isinstance(self.query, Figures) and self.query.statistic == "count"
        return "existence" if counted else "recomputed figure"

    def machine(self) -> str:
        """The hardware the claim speaks of, in words; empty where it names none."""
        named = {
            str(value): None
            for query in self.figures()
            for column in ("device", "system")
            for value in query.conditions().get(column, ())
        }
        return self.hardware or ", ".join(DEVICES.get(name, name) for name in named)


class Document(Section):
    """A document that makes claims."""

    title: str
    about: str = ""
    hardware: str = ""  # of its expectations that name none themselves
    whose: Literal[WHOSE] = "other"  # type: ignore[valid-type]
    url: str = Field(default="", pattern=r"^(https://\S+)?$")
    # What else a query of a table may be read as: words -> the columns of its `where` that change.
    readings: dict[str, dict[str, Scalar]] = Field(default_factory=dict)


class Claims(Section):
    """The claims file."""

    documents: dict[str, Document]
    claims: list[Claim]

    def datasets(self) -> list[str]:
        """The tables the claims need, those of the search for other definitions, and those of the badges."""
        used: set[str] = {query.dataset for claim in self.claims for query in claim.figures()}
        return sorted(used | {"errors", "summary_comparison", "defects"})


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
        for name, other in query.of.items():
            if other not in known:
                raise InputError(place, f"`{name}` is of claim `{other}`, which does not exist")
            if known[other].bounds is None:
                raise InputError(place, f"`{name}`: claim `{other}` states no number")
    return claims


def load_facts(path: str | os.PathLike[str]) -> dict[str, RecordedFact]:
    """Read and check the file of recorded facts."""
    return validated(Facts, read_yaml(path), path).facts
