"""The tutorials: every command of theirs runs, and prints what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from copies import ROOT, Copy, copy_tree, ready
from doc_commands import run

pytestmark = pytest.mark.slow


def page(name: str) -> str:
    return (ROOT / f"docs/use/tutorial-{name}.md").read_text(encoding="utf-8")


def problems(name: str, folder: Path) -> list[str]:
    """What a tutorial says wrongly, run in a copy whose environment is that of the tests."""
    ready(folder)
    return run(page(name), folder, Copy(folder).variables(PYTHONPATH=str(folder / "src")))


def test_an_engineers_commands_print_what_is_said(tmp_path: Path) -> None:
    assert problems("engineer", copy_tree(tmp_path / "tree").root) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["reviewer", "author"])
def test_a_tutorials_commands_print_what_is_said(name: str, finished: Copy, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "tree", symlinks=True)
    assert problems(name, tmp_path / "tree") == []


def test_the_runner_notices_what_a_page_says_wrongly(tmp_path: Path) -> None:
    def said(commands: str, text: str) -> list[str]:
        return run(f"```bash\n{commands}\n```\n\n```text\n{text}\n```\n", tmp_path)

    assert said("echo one; echo two", "one\ntwo") == []
    assert said("echo one 12.5 ms", "one … ms") == []
    assert "'two' is not printed" in said("echo one", "two")[0]
    assert "'one' is not printed" in said("echo one; echo two", "two\none")[0]
    assert "exit code 3" in said("exit 3", "")[0]
    assert "exit code 1" in said("false | cat", "")[0]
