"""Claims: what is refused before anything runs, what the audit computes, and the search for other definitions."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tilecast.base.errors import InputError
from tilecast.evaluate.audit import agreement, audit
from tilecast.evaluate.badges import badges
from tilecast.evaluate.claims import (
    Claim,
    Claims,
    RecordedFact,
    load_claims,
    load_facts,
)
from tilecast.evaluate.definitions import Match, chance, definitions, search
from tilecast.evaluate.selectable import check_claims, known_cells
from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.declared.locality import COMPARISON, RUNS
from tilecast.tables.declared.moe import SYSTEMS
from tilecast.tables.io import empty

CLAIMS, FACTS = "config/claims.yaml", "resources/published/citation.yaml"
PUBLISHED = "resources/published/end_to_end.csv"
H100, V100 = "NVIDIA_H100_80GB_HBM3", "Tesla_V100-PCIE-32GB"
WHERE = {"predictor": "neusight_published", "device": H100, "mode": "inference", "option": "none"}
FIGURES = {"dataset": "errors", "where": WHERE, "column": "ape_percent", "statistic": "mean"}
KNOWN = {"paper.title": RecordedFact(value="A  Title", source="somewhere")}


def claim(**changes: Any) -> dict[str, Any]:
    """One claim of 10 % as the file holds it."""
    base = {"id": "one", "title": "Error", "source": "guide", "quote": "10.0 %", "claimed": 10.0, "unit": "%"}
    base |= {"query": FIGURES}
    return {**base, **changes}


def loaded(tmp_path: Path, *claims: dict[str, Any]) -> Claims:
    """The claims after a trip through a file."""
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"documents": {"guide": {"title": "Guide"}}, "claims": list(claims)}))
    return load_claims(path)


def errors(*rows: tuple[str, str, str, int, float]) -> pd.DataFrame:
    """An errors table of (predictor, device, model, batch, error) rows, measured 100 ms."""
    return pd.DataFrame(
        [
            {"predictor": predictor, "device": device, "model": model, "mode": "inference", "sequence_length": 512}
            | {"batch_size": batch, "option": "none", "distribution": "out"}
            | {"measured_ms": 100.0, "predicted_ms": 100.0 + error, "ape_percent": error}
            for predictor, device, model, batch, error in rows
        ]
    )


TWO = errors(("neusight_published", H100, "bert_large", 8, 8.0), ("neusight_published", H100, "opt_13", 8, 12.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": {**FIGURES, "where": {"gpu": H100}}}, "claim one: `query`: table errors has no column `gpu`"),
        ({"query": {**FIGURES, "column": "model"}}, "claim one: `query`: statistic mean needs `column`"),
        ({"query": {**FIGURES, "dataset": "guesses"}}, "claim one: `query.dataset` = 'guesses': Input should be"),
        ({"query": {**FIGURES, "where": {"mode": "training_"}}}, "mode .* is not known"),
        ({"query": {**FIGURES, "code": "1+1"}}, "claim one: unknown key `query.code`"),
        (
            {"query": {}},
            "claim one: `query`: expected one of `dataset`, `fact`, `terms`, `relation` and `not_testable`",
        ),
        ({"claimed": "ten"}, "claim one: claimed 'ten' is not a finite number"),
        ({"claimed": float("inf")}, "claim one: claimed 'inf' is not a finite number"),
        ({"claimed": "-.inf"}, "claim one: claimed '-.inf' is not a finite number"),
        ({"claimed": float("nan")}, "claim one: claimed 'nan' is not a finite number"),
        ({"claimed": True}, "claim one: `claimed` = True"),
        ({"claimed": "6 to 4"}, "claim one: claimed '6 to 4' is not a finite number"),
        ({"claimed": "4 to .inf"}, "claim one: claimed '4 to .inf' is not a finite number"),
        ({"claimed": "4 to 6", "tolerance": 1}, "claim one: a range takes neither `tolerance` nor `comparison`"),
        ({"title": ""}, "claim one: `title`"),
        ({"kind": "rumour"}, "claim one: `kind` = 'rumour'"),
        ({"tolerance": float("inf")}, "claim one: `tolerance` = .*: Input should be a finite number"),
        ({"tolerance": float("nan")}, "claim one: `tolerance` = .*: Input should be a finite number"),
        ({"query": {"terms": [1, float("inf")]}}, "claim one: `query.terms"),
        ({"tolerance": -1.0}, "claim one: `tolerance`"),
        ({"tolerance": "a tenth"}, "claim one: `tolerance`"),
        ({"expect": "no_data"}, "claim one: `expect: no_data` needs `note`"),
        ({"source": "rumour"}, "claim one: source `rumour` is not among `documents`"),
        ({"id": "Not an id"}, "claim Not an id: `id`"),
    ],
)
def test_a_wrong_claim_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, claim(**change))


def test_two_claims_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="claim one: occurs twice"):
        loaded(tmp_path, claim(), claim())


@pytest.mark.parametrize("text", ["claims: [", "claims: {}", "- a", "", "\x00"])
def test_a_file_that_is_no_claims_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"claims\.yaml"):
        load_claims(path)
    with pytest.raises(InputError, match="does not exist"):
        load_claims(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "H100"}, "device `H100` does not exist"),
        ({"predictor": "oracle"}, "predictor `oracle` does not exist"),
        ({"model": "resnet50"}, "model `resnet50` does not exist"),
        ({"device": "Tesla_P4", "mode": "training"}, "its query selects nothing"),
        ({"option": "dp4"}, "its query selects nothing"),
        ({"batch_size": 9}, "its query selects nothing"),
    ],
)
def test_a_query_for_what_does_not_exist_is_refused_before_anything_runs(
    tmp_path: Path, repository: Path, change: dict[str, Any], message: str
) -> None:
    cells = known_cells(repository / PUBLISHED)
    claims = loaded(tmp_path, claim(query={**FIGURES, "where": {**WHERE, **change}}))
    with pytest.raises(InputError, match=f"claim one: {message}"):
        check_claims(claims, KNOWN, cells, "claims.yaml")


@pytest.mark.parametrize(("expect", "verdict"), [("no_data", "no data"), ("not_testable", "not testable here")])
def test_what_may_select_nothing_says_so(tmp_path: Path, repository: Path, expect: str, verdict: str) -> None:
    query = {**FIGURES, "where": {**WHERE, "model": "resnet50"}}
    claims = loaded(tmp_path, claim(query=query, expect=expect, note="No such model."))
    check_claims(claims, KNOWN, known_cells(repository / PUBLISHED), "claims.yaml")
    found, _ = audit(claims, {"errors": TWO}, KNOWN)
    assert found["verdict"].tolist() == [verdict]
    assert found["explanation"].iloc[0].startswith("No such model.")


def test_a_users_own_labels_count(tmp_path: Path, repository: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(
        "device,model,mode,sequence_length,batch_size,option,latency_ms\nMY_GPU,mine,inference,9,9,none,1\n"
    )
    claims = loaded(
        tmp_path, claim(query={"dataset": "labels", "where": {"device": "MY_GPU"}, "statistic": "count"})
    )
    with pytest.raises(InputError, match="MY_GPU"):
        check_claims(claims, KNOWN, known_cells(repository / PUBLISHED), "claims.yaml")
    check_claims(claims, KNOWN, known_cells(repository / PUBLISHED, [mine]), "claims.yaml")


def test_an_unrecorded_fact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fact `paper\.city` is not recorded"):
        check_claims(loaded(tmp_path, claim(query={"fact": "paper.city"})), KNOWN, [], "claims.yaml")


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


OTHERS = errors(
    ("neusight_published", H100, "bert_large", 8, 8.0),
    ("neusight_published", H100, "opt_13", 8, 12.0),
    ("neusight_published", V100, "opt_13", 8, 40.0),
    ("habitat_published", H100, "opt_13", 8, 77.7),
    ("tilecast", H100, "opt_13", 8, 55.5),
)


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (77.7, "Habitat (authors) (n = 1: 77.7)"),
        (12.0, "As many give only 0.8 % of random figures of like size."),
        (55.5, "None of"),
    ],
)
def test_the_search_names_a_definition_only_where_a_match_is_rare(claimed: float, expected: str) -> None:
    made = Claim.model_validate(claim(claimed=claimed))
    assert expected in search(made, made.query, OTHERS)  # type: ignore[arg-type]


def test_the_chance_of_a_match_is_that_of_random_figures() -> None:
    """One definition that gives 10 is met by the random figures from 5 to 20 within half a digit of it."""
    made = Claim.model_validate(claim(claimed=10))
    one = Match("all", 10.0, 1, 1, True)
    assert chance(made, [one], 1) == pytest.approx(np.log(10.5 / 9.5) / np.log(4), abs=0.04)
    assert chance(made, [one], 2) == 0 and chance(made, [one], 0) == 1


def test_the_search_tries_both_modes_where_one_is_meant_and_all_models_where_one_is() -> None:
    other = TWO.assign(mode="training", ape_percent=[30.0, 50.0])
    for more, claimed, words in (({}, 25.0, "both modes"), ({"model": "opt_13"}, 10.0, "all models")):
        made = Claim.model_validate(claim(claimed=claimed, query={**FIGURES, "where": {**WHERE, **more}}))
        assert words in search(made, made.query, pd.concat([TWO, other]))  # type: ignore[arg-type]


def test_the_search_counts_no_definition_twice() -> None:
    made = Claim.model_validate(claim())
    tried = list(definitions(made.query, TWO))  # type: ignore[arg-type]
    # Two cells make three sets of cells, under four statistics each; the claim itself is not another definition.
    assert len(tried) == 3 * 4 - 1
    assert {match.n for match in tried} == {1, 2}
    assert all(match.changes in (1, 2) for match in tried)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_of_the_definitions_that_give_a_figure_three_are_named(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = [Match(f"definition {number}", 12.0, 1, number, True) for number in range(count)]
    monkeypatch.setattr("tilecast.evaluate.definitions.definitions", lambda *_: tried)
    made = Claim.model_validate(claim(claimed=12.0))
    said = search(made, made.query, OTHERS)  # type: ignore[arg-type]
    assert said.count("(n = 1: 12.0)") == min(count, 3) and (", such as: " in said) == (count > 3)


def test_the_search_can_be_declined() -> None:
    made = Claim.model_validate(claim(claimed=12.0, search=False))
    assert search(made, made.query, OTHERS) == ""  # type: ignore[arg-type]


def test_the_claims_of_this_repository_are_sound(repository: Path) -> None:
    claims, facts = load_claims(repository / CLAIMS), load_facts(repository / FACTS)
    check_claims(claims, facts, known_cells(repository / PUBLISHED), CLAIMS)
    assert {"experiment guide", "survey evaluation", "artifact README"} <= {c.source for c in claims.claims}


def test_checking_claims_needs_no_pandas(repository: Path) -> None:
    script = (
        "import sys; from tilecast.evaluate.claims import *; from tilecast.evaluate.selectable import *;"
        f"check_claims(load_claims({CLAIMS!r}), load_facts({FACTS!r}), known_cells({PUBLISHED!r}), 'x');"
        "assert 'pandas' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=repository, check=True)


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
