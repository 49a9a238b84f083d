"""The audit of published claims: the figure computed from the tables, and the verdict.

The verdict is about the claim as stated. What other definitions or other arithmetic give stands apart, and a match
is named only where it is unlikely to be one by chance. Where nothing was measured and only a model of this project
answers, the claim is neither reproduced nor contradicted: the model disagrees, or nothing here can test it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.evaluate import expression
from tilecast.evaluate.claims import (
    TABLES,
    Arithmetic,
    Claim,
    Claims,
    Document,
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
from tilecast.tables.naming import DEVICES, MODELS, MODES, OPTIONS_SHORT, PREDICTORS, significant

Tables = Mapping[str, pd.DataFrame]
ROWS_LISTED = 200
BOUNDS = {"equals": "", "at_most": "at most ", "at_least": "at least "}  # what stands before a claimed figure
NAMES = {"device": DEVICES, "model": MODELS, "predictor": PREDICTORS, "option": OPTIONS_SHORT, "mode": MODES}
COLUMNS_IN_WORDS = {"ape_percent": "absolute percentage error", "latency_ms": "latency"}
STATISTICS_IN_WORDS = {name: f"{name} of" for name in ("mean", "median", "sum")}
STATISTICS_IN_WORDS |= {"accuracy": "100 % minus the mean of", "p90": "90th percentile of"}
STATISTICS_IN_WORDS |= {"max": "largest", "min": "smallest", "value": "the one"}


@dataclass
class Finding:
    """What the audit says about one claim."""

    verdict: str
    reproduced: str | None
    n: int
    definition: str
    explanation: str
    rows: Sequence[Mapping[str, object]] = ()
    other_readings: str = ""


def select(query: Figures, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that meet every condition and have a figure: what cannot run has none."""
    chosen = pd.Series(True, index=table.index)
    for column, wanted in query.conditions().items():
        chosen &= table[column].isin(wanted)
    if query.column:
        chosen &= table[query.column].notna()
    return table[chosen]


def statistic(query: Figures, chosen: pd.DataFrame) -> float:
    """The query's statistic of the rows chosen, of which there is at least one unless they are counted."""
    values = chosen[query.column] if query.column else chosen.iloc[:, 0]
    found = float(values.iloc[0]) if query.statistic == "value" else BY_NAME[query.statistic](values.to_numpy())
    return query.scale * found


def definition(query: Figures) -> str:
    """The query in words."""
    what = f"number of rows in {query.dataset}"
    if query.statistic != "count":
        column = COLUMNS_IN_WORDS.get(query.column or "", query.column)
        what = f"{STATISTICS_IN_WORDS[query.statistic]} {column} in {query.dataset}"
    conditions = [
        f"{column} {' or '.join(NAMES.get(column, {}).get(str(value), str(value)) for value in values)}"
        for column, values in query.conditions().items()
    ]
    return what + (f", where {', '.join(conditions)}" if conditions else "")


def agreement(claim: Claim, value: float) -> str:
    """Verdict on a number: to the digits printed, within the claim's tolerance, or neither."""
    off = claim.off(value)
    if off <= max(claim.half_unit, claim.tolerance):
        close = "reproduced" if off <= claim.half_unit else "within tolerance"
        return "not testable here" if claim.modelled() else close
    return "model disagrees" if claim.modelled() else "contradicted"


def figure(value: float | Decimal, decimals: int, unit: str | None) -> str:
    """A number with its unit; whole numbers without digits after the point."""
    text = f"{value:,.{decimals}f}"
    return f"{text} {unit}" if unit else text


def stated(claim: Claim) -> str:
    """The figure or range of a claim with its unit."""
    low, high = claim.bounds or (Decimal(0), Decimal(0))
    shown = figure(high, claim.decimals, claim.unit)
    return f"{low:,.{claim.decimals}f} to {shown}" if claim.is_range else shown


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _reach(query: Figures, chosen: pd.DataFrame) -> tuple[float, float] | None:
    """The ends of a forecast over the inputs that nobody states, where its table has them."""
    head, mark, tail = (query.column or "").partition("_per_")
    ends = [f"{head}_{end}{mark}{tail}" for end in ("low", "high")]
    if len(chosen) != 1 or not set(ends) <= set(chosen) or bool(chosen[ends].isna().any(axis=None)):
        return None
    low, high = (query.scale * float(chosen[end].iloc[0]) for end in ends)
    return low, high


def _judged(
    claim: Claim,
    value: float,
    decimals: int,
    basis: str,
    gives: str = "gives",
    reach: tuple[float, float] | None = None,
) -> tuple[str, str, str]:
    """The verdict on a number, the number as it is shown, and the sentence that says so."""
    if not math.isfinite(value):
        raise InputError(f"claim {claim.id}", "its query comes to no finite figure")
    if claim.is_range and abs(value) < 10:
        decimals = max(decimals, 1)
    verdict, shown, claimed = agreement(claim, value), figure(value, decimals, claim.unit), stated(claim)
    if claim.modelled():
        over = ""
        if reach:  # a model disagrees only where all it allows lies elsewhere
            verdict = agreement(claim, min(max(float(claim.figure), reach[0]), reach[1]))
            low, high = (figure(end, decimals, None) for end in reach)
            over = f" ({low} to {high} over the inputs that nobody states)"
        agrees = verdict == "not testable here"
        basis = f"Nothing was measured. A model of this project gives {shown}{over}, which "
        return verdict, shown, f"{basis}{'agrees with' if agrees else 'is not'} {claimed}."
    if verdict == "reproduced":
        words = {"equals": "as claimed", "at_most": f"no more than {claimed}", "at_least": "as the claim needs"}
        said = f"within {claimed}" if claim.is_range else words[claim.comparison]
        sentence = f"{basis} {gives} {shown}, {said}."
    elif verdict == "within tolerance":
        sentence = f"{basis} {gives} {shown}; {claimed} is within ±{claim.tolerance:g} of it."
    else:
        relation = {"equals": "not", "at_most": "not at most", "at_least": "not at least"}[claim.comparison]
        sentence = f"{basis} {gives} {shown}, {relation} {claimed}."
    return verdict, shown, sentence


def _named(column: str, value: object) -> str:
    """A part of a row's key as people say it."""
    before, after = {"batch_size": ("batch ", ""), "sequence_length": ("", " tokens")}.get(column, ("", ""))
    return f"{before}{NAMES.get(column, {}).get(str(value), value)}{after}"


def _rows(query: Figures, chosen: pd.DataFrame) -> list[dict[str, object]]:
    """The rows a value rests on, by their key."""
    table = TABLES[query.dataset]
    key = list(table.key) or [name for name, column in table.columns.items() if column.kind == "text"]
    listed = []
    for row in chosen.head(ROWS_LISTED).to_dict("records"):
        value = row[query.column] if query.column else 1
        about = {"dataset": query.dataset, "row": ", ".join(_named(name, row[name]) for name in key)}
        latencies = {name: row.get(name) for name in ("measured_ms", "predicted_ms")}
        unit = table.columns[query.column].unit if query.column else ""
        shown = f"{significant(value)} {unit}".rstrip() if isinstance(value, float) else str(value)
        listed.append(about | latencies | {"value": shown})
    if len(chosen) > ROWS_LISTED:
        rest = f"and {len(chosen) - ROWS_LISTED} more"
        listed.append({"dataset": query.dataset, "row": rest, "value": "not listed"})
    return listed


def _readings(claim: Claim, query: Figures, document: Document, table: pd.DataFrame) -> str:
    """What the same query gives under the document's other readings."""
    sentences = []
    for words, changes in document.readings.items():
        if changes.keys() <= query.where.keys() and query.statistic == "value":
            other = query.model_copy(update={"where": query.where | changes})
            chosen = select(other, table)
            if len(chosen) == 1:
                value = statistic(other, chosen)
                agrees = "agrees with" if claim.off(value) <= max(claim.half_unit, claim.tolerance) else "is not"
                shown = figure(value, claim.decimals, claim.unit)
                sentences.append(f"{words}: {shown}, which {agrees} {stated(claim)}.")
    return " ".join(sentences)


def _search(claim: Claim, query: Figures, tables: Tables) -> str:
    return search(claim, query, tables["errors"]) if query.dataset == "errors" else ""


def _absent(claim: Claim) -> str:
    """The verdict where there are no rows: the claim may say that nothing here could give any."""
    return "not testable here" if claim.expect == "not_testable" else "no data"


def _figures(claim: Claim, query: Figures, document: Document, tables: Tables, place: str) -> Finding:
    table = tables[query.dataset]
    chosen, words = select(query, table), definition(query)
    if chosen.empty and claim.expect:
        return Finding(_absent(claim), None, 0, words, claim.note, (), _search(claim, query, tables))
    if chosen.empty and table.empty:
        reason = f"The {query.dataset} table is empty: this needs the full artifact."
        return Finding("no data", None, 0, words, reason)
    if chosen.empty and query.statistic != "count":
        raise InputError(place, "its query selects nothing", "correct it, or say `expect: no_data`")
    if query.statistic == "value" and len(chosen) != 1:
        raise InputError(place, f"`value` needs one row, its query selects {len(chosen)}", "narrow it")
    decimals = 0 if query.statistic == "count" else claim.decimals
    basis = {0: "No row", 1: "The one row selected"}.get(len(chosen), f"The {len(chosen)} rows selected")
    gives = "gives" if len(chosen) < 2 else "give"
    value, reach = statistic(query, chosen), _reach(query, chosen)
    verdict, shown, sentence = _judged(claim, value, decimals, basis, gives, reach)
    others = "" if verdict == "reproduced" else _search(claim, query, tables)
    others = _joined(_readings(claim, query, document, table), others)
    return Finding(verdict, shown, len(chosen), words, _joined(sentence, claim.note), _rows(query, chosen), others)


def _text(words: object) -> str:
    return " ".join(str(words).split()).rstrip("/").casefold()


def _fact(claim: Claim, query: Fact, facts: Mapping[str, RecordedFact]) -> Finding:
    known = facts[query.fact]
    agrees = _text(claim.claimed) == _text(known.value)
    detail = f" ({known.detail})" if known.detail else ""
    words = f"The record says {known.value}{detail}" + (", as claimed." if agrees else f", not {claim.claimed}.")
    row = {"dataset": "facts", "row": f"{query.fact}: {known.source}", "value": known.value}
    verdict = "reproduced" if agrees else "contradicted"
    basis = f"recorded fact {query.fact} ({known.source})"
    return Finding(verdict, known.value, 1, basis, _joined(words, claim.note), [row])


def _arithmetic(claim: Claim, query: Arithmetic) -> Finding:
    terms = " ".join(f"{term:+g}" for term in query.terms)
    basis = f"Its own terms, {terms},"
    verdict, shown, sentence = _judged(claim, float(sum(query.terms)), claim.decimals, basis, "give")
    rows = [
        {"dataset": "the document", "row": f"term {place}", "value": f"{term:+g}"}
        for place, term in enumerate(query.terms, start=1)
    ]
    words = "sum of the terms the document gives"
    return Finding(verdict, shown, len(rows), words, _joined(sentence, claim.note), rows)


def _relation(claim: Claim, query: Relation, tables: Tables, others: Mapping[str, Claim], place: str) -> Finding:
    """The expression over what other claims state, or over what those come to."""
    known = {name: float(others[other].figure) for name, other in query.of.items()}
    empty = []
    for name, asked in query.recomputed.items():
        chosen = select(asked, tables[asked.dataset])
        known[name] = 0.0 if chosen.empty else statistic(asked, chosen)
        empty += [f"`{name}` ({definition(asked)})"] if chosen.empty else []
        if chosen.empty and asked.statistic != "count":
            break
    else:
        try:
            value = expression.value(expression.parsed(query.relation), known)
        except (ZeroDivisionError, OverflowError):
            if not empty:
                raise InputError(place, f"{query.relation!r} divides by zero or overflows") from None
        else:
            empty = []
    if empty:
        reason = f"There are no rows for {' and '.join(empty)}, so nothing follows."
        return Finding(_absent(claim), None, 0, query.relation, _joined(reason, claim.note))
    given = ", ".join(f"{name} = {number:,.6g}" for name, number in known.items())
    verdict, shown, sentence = _judged(claim, value, claim.decimals, f"{query.relation} with {given}")
    of = {name: ("claims", f"{name}: {other}, as stated") for name, other in query.of.items()}
    of |= {name: (asked.dataset, f"{name}: {definition(asked)}") for name, asked in query.recomputed.items()}
    rows = [
        {"dataset": dataset, "row": words, "value": f"{known[name]:.6g}"} for name, (dataset, words) in of.items()
    ]
    words = f"{query.relation}, of what {'tables give' if query.recomputed else 'claims state'}"
    return Finding(verdict, shown, len(rows), words, _joined(sentence, claim.note), rows)


def judge(
    claim: Claim, claims: Claims, tables: Tables, facts: Mapping[str, RecordedFact], where: object
) -> Finding:
    """The finding on one of the claims."""
    query, place = claim.query, f"{where}, claim {claim.id}"
    if isinstance(query, Figures):
        return _figures(claim, query, claims.documents[claim.source], tables, place)
    if isinstance(query, Fact):
        return _fact(claim, query, facts)
    if isinstance(query, Arithmetic):
        return _arithmetic(claim, query)
    if isinstance(query, Relation):
        return _relation(claim, query, tables, {other.id: other for other in claims.claims}, place)
    assert isinstance(query, NotTestable)
    return Finding("not testable here", None, 0, "none", _joined(query.not_testable, claim.note))


def audit(
    claims: Claims, tables: Tables, facts: Mapping[str, RecordedFact], where: object = "claims"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `claims` table, and the `claim_rows` table of the rows behind it, in the order of the claims file."""
    found, rows = [], []
    for claim in claims.claims:
        finding = judge(claim, claims, tables, facts, where)
        document, kind = claims.documents[claim.source], claim.sort()
        machine = claim.machine() or (document.hardware if kind == "expectation for a machine" else "")
        about = {"whose": document.whose, "kind": kind, "hardware": machine}
        about["claimed"] = BOUNDS[claim.comparison] + claim.claimed
        explanation = " ".join(finding.explanation.split())
        found.append({**dict(claim), **about, **vars(finding), "explanation": explanation})
        rows += [{"id": claim.id, "measured_ms": None, "predicted_ms": None, **row} for row in finding.rows]
    verdicts = pd.DataFrame(found, columns=list(CLAIMS.columns))
    evidence = pd.DataFrame(rows, columns=list(CLAIM_ROWS.columns))
    return check(verdicts, CLAIMS, "claims table"), check(evidence, CLAIM_ROWS, "claim_rows table")
