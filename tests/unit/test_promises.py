"""What the documents on security and on clusters promise names the test that keeps it, and that test exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
PROMISED = re.compile(
    r"\b(refused?|refuses|never|cannot|no other|byte for byte|same bytes|is removed|is taken off|goes on)\b"
)
NO_PROMISE = {  # sections that report what was measured or tried once, or say what is not covered
    "docs/develop/security.md": {"Fuzzing", "Not covered"},
    "docs/use/cluster.md": {"How it scales", "Where the time goes"},
}


def blocks(path: Path) -> Iterator[tuple[str, str, str]]:
    """(section, header of the table it is in, text) of every table row and paragraph outside code."""
    section = header = ""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("#"):
            section = lines.pop(0).lstrip("# ")
        if lines and lines[0].startswith("|"):
            header = lines[0]
            yield from ((section, header, line) for line in lines[2:])
        elif lines:
            yield section, "", "\n".join(lines)


@pytest.mark.parametrize("document", NO_PROMISE)
def test_every_promise_names_a_test(repository: Path, document: str) -> None:
    """Each row of a table with the column `kept by`, and each paragraph that says what never or always happens."""
    found = list(blocks(repository / document))
    tables = {header for _, header, _ in found if "kept by" in header}
    assert tables, "no table says what its promises are kept by"
    for section, header, text in found:
        if section in NO_PROMISE[document] or text.startswith("That was done once"):
            continue
        if header in tables or (not header and PROMISED.search(text)):
            assert NAMED.search(text), f"{document}, {section}: names no test: {text[:200]}"


@pytest.mark.parametrize("document", NO_PROMISE)
def test_every_test_named_exists(repository: Path, document: str) -> None:
    named = NAMED.findall((repository / document).read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        paths = list((repository / "tests").rglob(file))
        assert any(re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE) for path in paths), (
            f"{file}::{test}"
        )
