"""The audit: what every published claim comes to when computed from the tables, and the verdict.

The verdict is about the claim as stated. Only where that does not give the claimed figure are other definitions
tried, and the explanation says how many were, so that a chance match is not taken for a confirmation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.evaluate import expression
from tilecast.evaluate.claims import (
    TABLES,
    Arithmetic,
    Claim,
    Claims,
    Fact,
    Figures,
    NotTestable,
    RecordedFact,
    Relation,
)
from tilecast.evaluate.definitions import search
from tilecast.evaluate.statistics import BY_NAME
from tilecast.tables.declared.claims import CLAIM_ROWS, CLAIMS
from tilecast.tables.io import check
from tilecast.tables.naming import DEVICES, MODELS, MODES, OPTIONS_SHORT, PREDICTORS

Tables = Mapping[str, pd.DataFrame]
ROWS_LISTED = 200
NAMES = {"device": DEVICES, "model": MODELS, "predictor": PREDICTORS, "option": OPTIONS_SHORT, "mode": MODES}
COLUMNS_IN_WORDS = {"ape_percent": "absolute percentage error", "latency_ms": "latency"}
STATISTICS_IN_WORDS = {
    "mean": "mean of",
    "accuracy": "100 % minus the mean of",
    "median": "median of",
    "p90": "90th percentile of",
    "max": "largest",
    "min": "smallest",
    "sum": "sum of",
    "value": "the one",
}


@dataclass
class Finding:
    """What the audit says about one claim."""

    verdict: str
    reproduced: str | None
    n: int
    definition: str
    explanation: str
    rows: list[dict[str, object]] = field(default_factory=list)


def select(query: Figures, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that meet every condition."""
    chosen = pd.Series(True, index=table.index)
    for column, wanted in query.conditions().items():
        chosen &= table[column].isin(wanted)
    return table[chosen]


def statistic(query: Figures, chosen: pd.DataFrame) -> float:
    """The query's statistic of the rows chosen, of which there is at least one unless they are counted."""
    values = chosen[query.column] if query.column else chosen.iloc[:, 0]
    found = float(values.iloc[0]) if query.statistic == "value" else BY_NAME[query.statistic](values.to_numpy())
    return query.scale * found


def definition(query: Figures) -> str:
    """The query in words."""
    what = query.dataset
    if query.statistic != "count":
        column = query.column or ""
        what = f"{STATISTICS_IN_WORDS[query.statistic]} {COLUMNS_IN_WORDS.get(column, column)} in {query.dataset}"
    else:
        what = f"number of rows in {query.dataset}"
    conditions = [
        f"{column} {' or '.join(NAMES.get(column, {}).get(str(value), str(value)) for value in values)}"
        for column, values in query.conditions().items()
    ]
    return what + (f", where {', '.join(conditions)}" if conditions else "")


def agreement(claim: Claim, value: float) -> str:
    """Verdict on a number: to the digits printed, within the claim's tolerance, or neither."""
    claimed = float(claim.claimed)
    printed = 0.5 * 10**-claim.decimals + 1e-9 * abs(claimed)
    off = abs(value - claimed)
    if claim.comparison == "at_most":
        off = max(value - claimed, 0.0)
    elif claim.comparison == "at_least":
        off = max(claimed - value, 0.0)
    if off <= printed:
        return "reproduced"
    return "within tolerance" if off <= claim.tolerance else "contradicted"


def figure(value: float, decimals: int, unit: str | None) -> str:
    """A number with its unit; whole numbers without digits after the point."""
    text = f"{value:,.{decimals}f}"
    return text + (unit if unit == "%" else f" {unit}" if unit else "")


def _sentence(claim: Claim, verdict: str, value: str, basis: str) -> str:
    claimed = figure(float(claim.claimed), claim.decimals, claim.unit)
    if verdict == "reproduced":
        words = {"equals": "as claimed", "at_most": f"no more than {claimed}", "at_least": "as the claim needs"}
        return f"{basis} give {value}, {words[claim.comparison]}."
    if verdict == "within tolerance":
        return f"{basis} give {value}; {claimed} is within ±{claim.tolerance:g} of it."
    relation = {"equals": "not", "at_most": "not at most", "at_least": "not at least"}[claim.comparison]
    return f"{basis} give {value}, {relation} {claimed}."


def _rows(query: Figures, chosen: pd.DataFrame) -> list[dict[str, object]]:
    """The rows a value rests on, by their key."""
    table = TABLES[query.dataset]
    key = list(table.key) or [name for name, column in table.columns.items() if column.kind == "text"]
    listed = []
    for row in chosen.head(ROWS_LISTED).to_dict("records"):
        value = row[query.column] if query.column else 1
        listed.append(
            {
                "dataset": query.dataset,
                "row": ", ".join(str(row[name]) for name in key),
                "measured_ms": row.get("measured_ms"),
                "predicted_ms": row.get("predicted_ms"),
                "value": f"{value:.6g}" if isinstance(value, float) else str(value),
            }
        )
    if len(chosen) > ROWS_LISTED:
        rest = f"and {len(chosen) - ROWS_LISTED} more"
        listed.append({"dataset": query.dataset, "row": rest, "value": "not listed"})
    return listed


def _figures(claim: Claim, query: Figures, tables: Tables, where: object) -> Finding:
    table = tables[query.dataset]
    chosen = select(query, table)
    if query.column:
        chosen = chosen[chosen[query.column].notna()]  # a cell without a figure, such as what cannot run
    words = definition(query)
    if chosen.empty and not table.empty and claim.expect is None and query.statistic != "count":
        raise InputError(
            f"{where}, claim {claim.id}", "its query selects nothing", "correct it, or say `expect: no_data`"
        )
    others = ""
    if chosen.empty and (claim.expect or table.empty):
        if claim.expect:
            reason = claim.note
            others = search(claim, query, tables["errors"])
        else:
            reason = f"The {query.dataset} table is empty: this needs the full artifact."
        return Finding("no data", None, 0, words, " ".join(part for part in (reason, others) if part))
    if query.statistic == "value" and len(chosen) != 1:
        raise InputError(
            f"{where}, claim {claim.id}", f"`value` needs one row, its query selects {len(chosen)}", "narrow it"
        )
    value = statistic(query, chosen)
    verdict = agreement(claim, value)
    shown = figure(value, 0 if query.statistic == "count" else claim.decimals, claim.unit)
    basis = f"The {len(chosen)} rows" if len(chosen) != 1 else "The one row"
    basis = "No row" if chosen.empty else basis + " selected"
    sentence = _sentence(claim, verdict, shown, basis)
    if basis.startswith("The one") or chosen.empty:
        sentence = sentence.replace(" give ", " gives ", 1)
    if verdict != "reproduced":
        others = search(claim, query, tables["errors"])
    explanation = " ".join(part for part in (sentence, others, claim.note) if part)
    return Finding(verdict, shown, len(chosen), words, explanation, _rows(query, chosen))


def _text(words: object) -> str:
    return " ".join(str(words).split()).rstrip("/").casefold()


def _fact(claim: Claim, query: Fact, facts: Mapping[str, RecordedFact]) -> Finding:
    known = facts[query.fact]
    agrees = _text(claim.claimed) == _text(known.value)
    detail = f" ({known.detail})" if known.detail else ""
    words = f"The record says {known.value}{detail}" + (", as claimed." if agrees else f", not {claim.claimed}.")
    row: dict[str, object] = {"dataset": "facts", "row": f"{query.fact}: {known.source}", "value": known.value}
    explanation = " ".join(part for part in (words, claim.note) if part)
    verdict = "reproduced" if agrees else "contradicted"
    return Finding(verdict, known.value, 1, f"recorded fact {query.fact} ({known.source})", explanation, [row])


def _arithmetic(claim: Claim, query: Arithmetic) -> Finding:
    value = sum(query.terms)
    verdict = agreement(claim, value)
    shown = figure(value, claim.decimals, claim.unit)
    terms = " ".join(f"{term:+g}" for term in query.terms)
    sentence = _sentence(claim, verdict, shown, f"Its own terms, {terms},")
    rows: list[dict[str, object]] = [
        {"dataset": "the document", "row": f"term {place}", "value": f"{term:+g}"}
        for place, term in enumerate(query.terms, start=1)
    ]
    explanation = " ".join(part for part in (sentence, claim.note) if part)
    return Finding(verdict, shown, len(rows), "sum of the terms the document gives", explanation, rows)


def _relation(
    claim: Claim, query: Relation, tables: Tables, others: Mapping[str, Claim], where: object
) -> Finding:
    """The expression over what other claims state, or over what those come to."""
    known = {name: float(others[other].claimed) for name, other in query.of.items()}
    for name, other in query.recomputed.items():
        asked = others[other].query
        assert isinstance(asked, Figures)
        chosen = select(asked, tables[asked.dataset])
        if asked.column:
            chosen = chosen[chosen[asked.column].notna()]
        if chosen.empty:
            reason = f"Claim {other} comes to no figure, so nothing follows from it."
            return Finding("no data", None, 0, query.relation, " ".join(filter(None, (reason, claim.note))))
        known[name] = statistic(asked, chosen)
    try:
        value = expression.value(expression.parsed(query.relation), known)
    except (ZeroDivisionError, OverflowError):
        raise InputError(
            f"{where}, claim {claim.id}", f"{query.relation!r} divides by zero or overflows"
        ) from None
    verdict = agreement(claim, value)
    shown = figure(value, claim.decimals, claim.unit)
    given = ", ".join(f"{name} = {number:,.6g}" for name, number in known.items())
    sentence = _sentence(claim, verdict, shown, f"{query.relation} with {given}").replace(" give ", " gives ", 1)
    rows: list[dict[str, object]] = [
        {"dataset": "claims", "row": f"{name}: {other}, {how}", "value": f"{known[name]:.6g}"}
        for how, names in (("stated", query.of), ("recomputed", query.recomputed))
        for name, other in names.items()
    ]
    explanation = " ".join(filter(None, (sentence, claim.note)))
    return Finding(verdict, shown, len(rows), f"{query.relation}, of what claims state", explanation, rows)


def judge(
    claim: Claim,
    tables: Tables,
    facts: Mapping[str, RecordedFact],
    where: object,
    others: Mapping[str, Claim] | None = None,
) -> Finding:
    """The finding on one claim; `others` are the claims a relation may refer to."""
    query = claim.query
    if isinstance(query, Figures):
        return _figures(claim, query, tables, where)
    if isinstance(query, Fact):
        return _fact(claim, query, facts)
    if isinstance(query, Arithmetic):
        return _arithmetic(claim, query)
    if isinstance(query, Relation):
        return _relation(claim, query, tables, others or {}, where)
    assert isinstance(query, NotTestable)
    return Finding("not testable here", None, 0, "none", " ".join(filter(None, (query.not_testable, claim.note))))


def audit(
    claims: Claims, tables: Tables, facts: Mapping[str, RecordedFact], where: object = "claims"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `claims` table, and the `claim_rows` table of the rows behind it, in the order of the claims file."""
    found, rows = [], []
    named = {claim.id: claim for claim in claims.claims}
    for claim in claims.claims:
        finding = judge(claim, tables, facts, where, named)
        found.append(
            {
                "id": claim.id,
                "source": claim.source,
                "quote": claim.quote,
                "claimed": str(claim.claimed),
                "unit": claim.unit,
                "reproduced": finding.reproduced,
                "n": finding.n,
                "verdict": finding.verdict,
                "definition": finding.definition,
                "explanation": " ".join(finding.explanation.split()),
            }
        )
        rows += [{"id": claim.id, "measured_ms": None, "predicted_ms": None, **row} for row in finding.rows]
    verdicts = pd.DataFrame(found, columns=list(CLAIMS.columns))
    evidence = pd.DataFrame(rows, columns=list(CLAIM_ROWS.columns))
    return check(verdicts, CLAIMS, "claims table"), check(evidence, CLAIM_ROWS, "claim_rows table")
