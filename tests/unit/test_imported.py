"""Which library modules a workflow script depends on: the inputs that make editing a helper re-run its users."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FILES = {
    "src/tilecast/far.py": "",
    "src/tilecast/near.py": "def lazily():\n    from tilecast.group import member\n",
    "src/tilecast/group/__init__.py": "WORD = 1\n",
    "src/tilecast/group/member.py": "import tilecast.group.cycle\n",
    "src/tilecast/group/cycle.py": "from tilecast.group.member import x\n",
    "src/tilecast/group/stranger.py": "",
    "workflow/scripts/step.py": "import json, pandas\nfrom tilecast import near\n",
    "workflow/scripts/member.py": "from tilecast.group.member import x\n",
    "workflow/scripts/word.py": "from tilecast.group import WORD\n",
    "workflow/scripts/none.py": "import sys\nfrom tilecastle import far\n",
}


@pytest.fixture
def common(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that common.smk defines, in a small project with the real library beside FILES."""
    shutil.copytree(repository / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(os.sys.path))  # type: ignore[attr-defined]
    shell = SimpleNamespace(prefix=lambda text: None)
    here = SimpleNamespace(current_basedir=tmp_path / "workflow/rules", is_main_process=False)
    names = {"workflow": here, "shell": shell, "config": {}}
    text = (repository / "workflow/rules/common.smk").read_text()
    exec(re.sub(r"^onerror:\n(?:    .*\n|\n)+", "", text, flags=re.M), names)  # the one block that is no Python
    return names


ROOT_PACKAGE = "src/tilecast/__init__.py"
GROUP = ["src/tilecast/group/__init__.py", "src/tilecast/group/cycle.py", "src/tilecast/group/member.py"]


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("step", [ROOT_PACKAGE, *GROUP, "src/tilecast/near.py"]),  # also what a function imports, and cycles end
        ("member", [ROOT_PACKAGE, *GROUP]),  # and not the package's other modules
        ("word", [ROOT_PACKAGE, GROUP[0]]),
        ("none", []),
    ],
)
def test_exactly_the_modules_a_script_imports(common: dict[str, Any], script: str, files: list[str]) -> None:
    assert common["code"](script) == files


def test_paths_are_relative_to_where_the_workflow_runs(
    common: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert common["code"]("word") == ["../" + ROOT_PACKAGE, "../" + GROUP[0]]
