"""A mistake in what a user edits ends the run before it begins: one line, exit code 1, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import Copy, copy_tree

CELL = "device,model,mode,sequence_length,batch_size,option,latency_ms\n"
ROW = "Tesla_T4,mine,inference,128,1,none,12.5\n"


def claim(**changes: str) -> str:
    """A file with one claim, some lines of which are changed."""
    lines = {
        "id": "one",
        "source": "guide",
        "title": "an error",
        "quote": "words",
        "claimed": "9.43",
        "unit": '"%"',
        "tolerance": "0.25",
        "query": "{dataset: errors, where: {predictor: neusight_published}, column: ape_percent, statistic: mean}",
    }
    body = "\n    ".join(f"{key}: {value}" for key, value in {**lines, **changes}.items())
    return f"documents:\n  guide: {{title: Guide, about: a guide}}\nclaims:\n  - {body}\n"


def query(where: str, column: str = "ape_percent") -> str:
    return claim(query=f"{{dataset: errors, where: {where}, column: {column}, statistic: mean}}")


# what is wrong -> (file, its content or a change to it, what the line has to say)
MISTAKES: dict[str, tuple[str, str | Callable[[str], str], str]] = {
    "unknown key": ("config/config.yaml", lambda text: text + "colour: red\n", "unknown key `colour`"),
    "wrong type": (
        "config/config.yaml",
        lambda text: re.sub("timeout_s: .*", "timeout_s: soon", text),
        "`artifact.timeout_s` = 'soon'",
    ),
    "no such label file": (
        "config/config.yaml",
        lambda text: re.sub("labels: .*", "labels: [no.csv]", text),
        "no.csv",
    ),
    "missing column": (
        "mine.csv",
        (CELL + ROW).replace("model,", "").replace("mine,", ""),
        "column model is missing",
    ),
    "text for a number": ("mine.csv", CELL + ROW.replace("12.5", "fast"), "'fast' is not a number"),
    "negative latency": ("mine.csv", CELL + ROW.replace("12.5", "-12.5"), "-12.5"),
    "not a number": ("mine.csv", CELL + ROW.replace("12.5", "NaN"), "latency_ms"),
    "duplicate cell": ("mine.csv", CELL + ROW + ROW, "occurs twice"),
    "no row": ("mine.csv", CELL, "holds no row"),
    "claim of no column": (
        "config/claims.yaml",
        query("{predictor: neusight_published}", "ape_permille"),
        "ape_permille",
    ),
    "claim of no device": ("config/claims.yaml", query("{device: NVIDIA_H2000}"), "NVIDIA_H2000"),
    "claim that selects nothing": (
        "config/claims.yaml",
        query("{device: Tesla_P4, option: dp4, predictor: neusight_published}"),
        "one",
    ),
    "claims that are no YAML": ("config/claims.yaml", "claims: [", "config/claims.yaml"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return copy_tree(tmp_path_factory.mktemp("mistakes") / "tree")


def test_a_sound_claim_and_label_file_pass(tree: Copy) -> None:
    """So that what is refused below is refused for its mistake."""
    (tree.root / "mine.csv").write_text(CELL + ROW)
    with tree.edited("config/claims.yaml", lambda _: query("{predictor: neusight_published}")):
        assert "audit_claims" in tree.would_run("--config", "labels=[mine.csv]")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_before_anything_runs(mistake: str, tree: Copy) -> None:
    file, change, said = MISTAKES[mistake]
    (tree.root / "mine.csv").write_text(CELL + ROW)
    config = tree.root / "config/config.yaml"
    labelled = (lambda text: re.sub("labels: .*", "labels: [mine.csv]", text)) if file == "mine.csv" else str
    before = config.read_bytes()
    config.write_text(labelled(config.read_text()))
    try:
        with tree.edited(file, (lambda _: change) if isinstance(change, str) else change):
            run = tree.snakemake("--quiet", "all", fails=True)
    finally:
        config.write_bytes(before)
    assert run.code == 1
    first, *lines = [line for line in run.output.splitlines() if line.strip()]
    assert first.startswith("Using workflow specific profile profiles/default")  # Snakemake's own line
    assert len(lines) == 1, run.output
    assert lines[0].startswith("tilecast: error: ")
    assert said in lines[0]
    assert not Path(tree.root / "results").exists() or not any((tree.root / "results").glob("*/*"))
