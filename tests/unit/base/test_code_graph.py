"""Which modules a Python file runs: the inputs that make editing a module re-run its users, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilecast.base.code_graph import imported_files

FILES = {
    "src/lib/__init__.py": "",
    "src/lib/far.py": "",
    "src/lib/near.py": "def lazily():\n    from lib.group import member\n",
    "src/lib/typed.py": "if TYPE_CHECKING:\n    import lib.far\nelse:\n    import lib.near\n",
    "src/lib/tried.py": "try:\n    import lib.far\nexcept ImportError:\n    import lib.group\n",
    "src/lib/group/__init__.py": "WORD = 1\n",
    "src/lib/group/member.py": "import lib.group.cycle\n",
    "src/lib/group/cycle.py": "from lib.group.member import x\n",
    "src/lib/group/stranger.py": "",
    "scripts/step.py": "import json, pandas\nfrom lib import near\n",
    "scripts/member.py": "from lib.group.member import x\n",
    "scripts/word.py": "from lib.group import WORD\n",
    "scripts/none.py": "import sys\nfrom library import far\n",
    "scripts/package.py": "import lib\n",
}
GROUP = ["__init__", "group/__init__", "group/cycle", "group/member"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "modules"),
    [
        ("scripts/step.py", [*GROUP, "near"]),  # also what a function imports, and a circle ends
        ("scripts/member.py", GROUP),  # and not the package's other modules
        ("scripts/word.py", ["__init__", "group/__init__"]),
        ("scripts/package.py", ["__init__"]),
        ("scripts/none.py", []),
        ("src/lib/far.py", ["far"]),  # a module runs itself
        ("src/lib/tried.py", ["__init__", "far", "group/__init__", "tried"]),
        ("src/lib/typed.py", [*GROUP, "near", "typed"]),  # what is imported for type checking alone never runs
    ],
)
def test_exactly_the_modules_that_run(project: Path, file: str, modules: list[str]) -> None:
    found = imported_files(project / file, project / "src")
    assert [str(path.relative_to(project / "src/lib").with_suffix("")) for path in found] == modules
