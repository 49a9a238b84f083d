"""What the audit computes: agreement, verdicts, readings, relations between claims, badges."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from small_claims import CLAIMS, FACTS, FIGURES, KNOWN, PUBLISHED, TWO, V100, WHERE, claim, loaded

from tilecast.base.errors import InputError
from tilecast.evaluate.audit import agreement, audit
from tilecast.evaluate.badges import badges
from tilecast.evaluate.claims import (
    Claim,
    load_claims,
    load_facts,
)
from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.declared.locality import COMPARISON, RUNS
from tilecast.tables.declared.moe import SYSTEMS
from tilecast.tables.io import empty


@pytest.mark.parametrize(
    ("claimed", "value", "comparison", "verdict"),
    [
        (10.0, 10.04, "equals", "reproduced"),
        ("10.00", 10.04, "equals", "within tolerance"),
        (10, 10.4, "equals", "reproduced"),
        (10.0, 10.2, "equals", "within tolerance"),
        (10.0, 10.6, "equals", "contradicted"),
        (10.0, 3.0, "at_most", "reproduced"),
        (10.0, 10.6, "at_most", "contradicted"),
        (10.0, 300.0, "at_least", "reproduced"),
        (10.0, 9.0, "at_least", "contradicted"),
    ],
)
def test_agreement_is_to_the_digits_printed(claimed: Any, value: float, comparison: Any, verdict: str) -> None:
    made = Claim.model_validate(claim(claimed=claimed, comparison=comparison, tolerance=0.5))
    assert agreement(made, value) == verdict


@pytest.mark.parametrize(
    ("written", "value", "verdict"),
    [
        ("1e-5", 0.4, "contradicted"),
        ("0.00001", 0.4, "contradicted"),
        ("1.0e-05", 0.4, "contradicted"),
        ("1.0e-05", 0.0000106, "contradicted"),
        ("1e-5", 0.0000104, "reproduced"),
        ("8.1", 8.14, "reproduced"),
        ("8.10", 8.14, "contradicted"),
        ("8.10", 8.104, "reproduced"),
        ("4.5, tolerance: 0.5", 5.000000000000001, "within tolerance"),
        ("4.5, tolerance: 0.5", 5.0000001, "contradicted"),
        ("0.3, tolerance: 0.1", 0.1 + 0.1 + 0.2, "within tolerance"),
        ("4 to 5", 5.000000000000001, "reproduced"),
        ("4 to 5", 5.01, "contradicted"),
        ("4 to 5", 3.99, "contradicted"),
        ("0.8 to 1.2", 0.8, "reproduced"),
    ],
)
def test_a_figure_counts_with_the_digits_the_file_has(
    tmp_path: Path, written: str, value: float, verdict: str
) -> None:
    """Through a file: YAML alone would make 8.1 of 8.10, and Python writes 1e-05 for 0.00001."""
    path = tmp_path / "claims.yaml"
    query = "query: {terms: [" + repr(value) + "]}"
    path.write_text(
        "documents: {guide: {title: Guide}}\n"
        f"claims:\n- {{id: one, title: t, source: guide, quote: w, claimed: {written}, {query}}}\n"
    )
    claims = load_claims(path)
    assert agreement(claims.claims[0], value) == verdict
    found, _ = audit(claims, {}, KNOWN)
    assert found["verdict"].tolist() == [verdict]
    (shown,) = found["claimed"]
    first, last = (text.partition(",")[0].split(" to ")[0] for text in (shown, written))
    assert Decimal(first).as_tuple() == Decimal(last).as_tuple()


def test_what_comes_to_no_finite_figure_is_one_line(tmp_path: Path) -> None:
    claims = loaded(tmp_path, claim(claimed="1e30"), relation(" * ".join(["a"] * 12), of={"a": "one"}))
    with pytest.raises(InputError, match="claim two: its query comes to no finite figure"):
        audit(claims, {"errors": TWO}, KNOWN)


def test_the_audit_shows_value_count_rows_and_reason(tmp_path: Path) -> None:
    claims = loaded(
        tmp_path,
        claim(),
        claim(id="two", claimed=7.0),
        claim(id="sum", claimed=7, query={"terms": [3, 2, -2]}),
        claim(id="title", claimed="a title", unit=None, query={"fact": "paper.title"}),
        claim(id="other-title", claimed="Another", unit=None, query={"fact": "paper.title"}),
        claim(id="time", claimed="an hour", unit=None, query={"not_testable": "Not run here."}),
        claim(id="kernels", claimed=0, unit=None, query={"dataset": "graphs", "statistic": "count"}),
    )
    found, rows = audit(claims, {"errors": TWO, "graphs": empty(GRAPHS)}, KNOWN)
    table = found.set_index("id")
    assert table["verdict"].to_dict() == {
        "one": "reproduced",
        "two": "contradicted",
        "sum": "contradicted",
        "title": "reproduced",
        "other-title": "contradicted",
        "time": "not testable here",
        "kernels": "no data",
    }
    assert table.loc["one", ["reproduced", "n"]].tolist() == ["10.0 %", 2]
    assert "The 2 rows selected give " in table.loc["two", "explanation"]
    assert "needs the full artifact" in table.loc["kernels", "explanation"]
    assert table.loc["sum", "reproduced"] == "3 %"
    evidence = rows[rows["id"] == "one"]
    assert evidence["predicted_ms"].tolist() == [108, 112]
    assert (
        evidence["row"].tolist()[0]
        == "NeuSight (authors), H100, BERT-Large, Inference, 512 tokens, batch 8, plain"
    )
    assert evidence["value"].tolist() == ["8.00 %", "12.0 %"]


def test_a_query_that_comes_out_empty_on_full_data_is_an_error(tmp_path: Path) -> None:
    claims = loaded(tmp_path, claim(query={**FIGURES, "where": {**WHERE, "device": V100}}))
    with pytest.raises(InputError, match="claim one: its query selects nothing"):
        audit(claims, {"errors": TWO}, KNOWN)


def test_one_cell_means_one(tmp_path: Path) -> None:
    claims = loaded(tmp_path, claim(query={**FIGURES, "statistic": "value"}))
    with pytest.raises(InputError, match="`value` needs one row, its query selects 2"):
        audit(claims, {"errors": TWO}, KNOWN)


@pytest.mark.parametrize(
    ("name", "verdict", "words"),
    [
        ("guide-h100-inference", "contradicted", "which says nothing"),
        ("guide-h100-training", "contradicted", "MI100 (n = 3: 15.62)"),
        ("guide-a100-sxm-inference", "no data", "no inference label"),
        ("guide-v100-inference", "reproduced", "10 rows"),
        ("guide-v100-training", "reproduced", "3 rows"),
        ("guide-dp4", "reproduced", "one row"),
        ("guide-tp4", "reproduced", "one row"),
        ("guide-pp4", "reproduced", "one row"),
        ("paper-h100-gpt3", "reproduced", "6 rows"),
        ("paper-h100-gpt3-habitat", "reproduced", "6 rows"),
        ("guide-a100-sxm-training", "reproduced", "No row gives 0 labels, as claimed"),
        ("survey-h100-gpt3-roofline", "contradicted", "Habitat (authors) (n = 6: 121.4)"),
        ("survey-mean-error", "contradicted", "which says nothing"),
        ("survey-score", "contradicted", "3 points, not 7 points"),
        ("survey-repository", "contradicted", "sitar-lab"),
        ("guide-model-opt", "contradicted", "OPT-1.3B"),
        ("survey-a100-resnet50", "no data", "ResNet-50"),
    ],
)
def test_known_verdicts_from_the_transcribed_figures(
    repository: Path, tmp_path: Path, name: str, verdict: str, words: str
) -> None:
    from tilecast.artifact.published import read_published
    from tilecast.evaluate.errors import cell_errors

    labels, predictions = read_published(repository / PUBLISHED)
    claims, facts = load_claims(repository / CLAIMS), load_facts(repository / FACTS)
    chosen = claims.model_copy(update={"claims": [c for c in claims.claims if c.id == name]})
    tables = {"errors": cell_errors(labels, predictions), "labels": labels, "predictions": predictions}
    found, _ = audit(chosen, tables, facts)
    assert found["verdict"].tolist() == [verdict]
    assert words in f"{found['explanation'].iloc[0]} {found['other_readings'].iloc[0]}"


def modelled(**changes: Any) -> dict[str, Any]:
    """A claim that only the study's physical model answers."""
    where = {"mode": "physical", "system": "8xA100", "strategy": "hybrid"}
    query = {"dataset": "moe_systems", "where": where, "column": "speedup", "statistic": "value"}
    return claim(unit="times", claimed="4 to 6", query=query) | changes


def test_a_model_alone_neither_reproduces_nor_contradicts(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    readings = {"By its own formula": {"mode": "as_published"}}
    document = {"title": "Guide", "whose": "study", "readings": readings}
    both = [modelled(), modelled(id="two", claimed="0.5 to 1.5"), modelled(id="three", claimed="2 to 3")]
    path.write_text(yaml.safe_dump({"documents": {"guide": document}, "claims": both}))
    rows = [
        dict.fromkeys(SYSTEMS.columns) | {"mode": mode, "system": "8xA100", "strategy": "hybrid", "speedup": value}
        for mode, value in (("physical", 1.0), ("as_published", 5.0))
    ]
    rows[0] |= {"speedup_low": 0.8, "speedup_high": 2.1}
    found, _ = audit(load_claims(path), {"moe_systems": pd.DataFrame(rows)}, KNOWN)
    assert found["verdict"].tolist() == ["model disagrees", "not testable here", "not testable here"]
    assert "gives 1.0 times (0.8 to 2.1 over the inputs that nobody states)" in found["explanation"].iloc[0]
    assert found["kind"].tolist() == ["expectation for a machine"] * 3
    assert found[["whose", "hardware"]].iloc[0].tolist() == ["study", "8xA100"]
    assert found["other_readings"].iloc[0] == "By its own formula: 5 times, which agrees with 4 to 6 times."


def test_badges_follow_from_the_tables() -> None:
    claims = pd.DataFrame(
        [("authors", "recomputed figure", verdict) for verdict in ("reproduced", "contradicted", "no data")]
        + [("survey", "recomputed figure", "contradicted")],
        columns=["whose", "kind", "verdict"],
    )
    summary = pd.DataFrame({"table": ["a", "b"], "equal": [True, False]})
    defects = pd.DataFrame({"severity": ["affects results", "note"]})
    source = {"source": "git", "files_verified": 2, "files_in_commit": 3}
    found = badges(claims, summary, defects, source)
    assert found["verdict"].tolist() == ["yes", "in part", "in part"]
    assert (
        "1 of 2 figures of its 2 summary tables" in found["reason"][1] and "1 of 2 figures" in found["reason"][2]
    )
    nothing = badges(claims[3:], summary[:0], defects, source | {"source": "published"})
    assert nothing["verdict"].tolist() == ["not judged"] * 3


def relation(expression: str, **names: dict[str, Any]) -> dict[str, Any]:
    """A claim that its expression comes to 1.25."""
    return claim(id="two", claimed=1.25, unit="times", query={"relation": expression, **names})


def test_a_relation_uses_what_claims_state_and_what_they_come_to(tmp_path: Path) -> None:
    stated = relation("first / 8", of={"first": "one"})
    computed = relation("first / max(second, 8)", of={"first": "one"}, recomputed={"second": FIGURES}) | {
        "id": "three"
    }
    found, rows = audit(loaded(tmp_path, claim(), stated, computed), {"errors": TWO}, KNOWN)
    assert found["verdict"].tolist() == ["reproduced", "reproduced", "contradicted"]
    assert found["reproduced"].tolist()[1:] == ["1.25 times", "1.00 times"]
    assert "first / 8 with first = 10 gives 1.25 times, as claimed" in found["explanation"].iloc[1]
    first, second = rows[rows["id"] == "three"]["row"]
    assert first == "first: one, as stated" and second.startswith("second: mean of absolute percentage error")
    assert found["kind"].tolist() == ["recomputed figure", "arithmetic", "recomputed figure"]


def test_nothing_follows_from_a_claim_without_data(tmp_path: Path) -> None:
    count = {"dataset": "errors", "statistic": "count"}
    none, share = (
        relation(text, recomputed={"a": query}) for text, query in (("a / 8", FIGURES), ("8 / a", count))
    )
    claims = loaded(tmp_path, claim(), none, share | {"id": "three"})
    found, _ = audit(claims, {"errors": empty(ERRORS)}, KNOWN)
    assert found["verdict"].tolist() == ["no data"] * 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"relation": "a / 8", "of": {"a": "nobody"}}, "claim `nobody`, which does not exist"),
        ({"relation": "a / 8", "of": {"b": "one"}}, "differ: a, b"),
        ({"relation": "a ** 8", "of": {"a": "one"}}, "only + - * /"),
        ({"relation": "open(a)", "of": {"a": "one"}}, "only + - * /"),
        ({"relation": "a", "recomputed": {"a": "words"}}, "`query.recomputed.a`"),
        ({"relation": "a", "of": {"a": "words"}}, "states no number"),
    ],
)
def test_a_wrong_relation_is_one_line(tmp_path: Path, query: dict[str, Any], words: str) -> None:
    said = claim(id="words", claimed="A Title", query={"fact": "paper.title"})
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, claim(), said, claim(id="two", query=query))
    assert words in str(caught.value) and "claim two" in str(caught.value)


def test_a_relation_that_divides_by_zero_is_one_line(tmp_path: Path) -> None:
    claims = loaded(tmp_path, claim(), relation("1 / (a - 10)", of={"a": "one"}))
    with pytest.raises(InputError, match="divides by zero"):
        audit(claims, {"errors": TWO}, KNOWN)


def test_what_no_run_can_show_yet_is_not_testable_and_names_its_documents_hardware(repository: Path) -> None:
    whole = load_claims(repository / "config/claims.yaml")
    names = ["numa-success", "numa-penalty-memory", "numa-nodes"]
    claims = whole.model_copy(update={"claims": [one for one in whole.claims if one.id in names]})
    found, _ = audit(claims, {"numa_runs": empty(RUNS), "numa_comparison": empty(COMPARISON)}, {})
    assert len(found) == 3 and set(found["verdict"]) == {"not testable here"}
    assert set(found["kind"]) == {"expectation for a machine"}
    assert set(found["hardware"]) == {"four GPUs, two NUMA nodes, not named"}
