"""Which modules a Python file runs: what re-runs when one is edited; and what of it is kept between runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tilecast.base import code_graph
from tilecast.base.code_graph import CodeGraph

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
    found = CodeGraph(project / "src").imported_files(project / file)
    assert [str(path.relative_to(project / "src/lib").with_suffix("")) for path in found] == modules


def test_a_text_is_parsed_once_for_all_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, step = project / "cache/known", project / "scripts/step.py"
    parsed: list[Path] = []
    names = code_graph._names

    def counted(file: Path) -> set[str]:
        parsed.append(file)
        return names(file)

    def imported() -> list[Path]:
        parsed.clear()
        graph = CodeGraph(project / "src", cache)
        found = graph.imported_files(step)
        graph.save()
        return found

    monkeypatch.setattr(code_graph, "_names", counted)
    first = imported()
    assert step in parsed
    assert imported() == first and parsed == []
    step.write_text("import lib.far\n")
    assert imported() == [project / "src/lib/__init__.py", project / "src/lib/far.py"]
    assert parsed == [step]  # `far` says as little as another module, whose text was parsed


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data.replace(b"far", b"sys"), lambda _: b""]
)
def test_a_damaged_cache_is_as_good_as_none(damage: Callable[[bytes], bytes], project: Path) -> None:
    cache, step = project / "known", project / "scripts/step.py"
    graph = CodeGraph(project / "src", cache)
    found = graph.imported_files(step)
    graph.save()
    cache.write_bytes(damage(cache.read_bytes()))
    again = CodeGraph(project / "src", cache)
    assert again.imported_files(step) == found
    again.save()
    assert CodeGraph(project / "src", cache)._kept


def test_a_cache_that_cannot_be_written_is_done_without(project: Path) -> None:
    (project / "file").write_text("")
    graph = CodeGraph(project / "src", project / "file/known")
    assert graph.imported_files(project / "scripts/word.py")
    graph.save()


def test_an_answer_is_kept_until_a_file_the_code_or_what_is_given_changes(project: Path) -> None:
    cache, module, data = project / "known", project / "src/lib/near.py", project / "data.csv"
    data.write_text("1\n")
    asked: list[str] = []

    def compute() -> tuple[str]:
        asked.append(data.read_text() if data.exists() else "gone")
        return (asked[-1],)

    def answer(*given: str) -> object:
        graph = CodeGraph(project / "src", cache)
        found = graph.remembered(module, [data], compute, *given)
        graph.save()
        return found

    assert answer() == answer() == ["1\n"] and len(asked) == 1
    data.write_text("2\n")
    assert answer() == ["2\n"] and len(asked) == 2
    (project / "src/lib/group/member.py").write_text("import lib.far\n")  # near imports it
    assert answer() == ["2\n"] and len(asked) == 3
    assert answer("other") == ["2\n"] and len(asked) == 4
    data.unlink()
    assert answer() == ("gone",) and answer() == ("gone",) and len(asked) == 6  # nothing to know it by
