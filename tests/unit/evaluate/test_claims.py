"""Claims: what is refused before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_claims import CLAIMS, FACTS, FIGURES, H100, KNOWN, PUBLISHED, TWO, WHERE, claim, loaded

from tilecast.base.errors import InputError
from tilecast.evaluate.audit import audit
from tilecast.evaluate.claims import (
    load_claims,
    load_facts,
)
from tilecast.evaluate.selectable import check_claims, known_cells


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
