"""Run the workflow in different surroundings and compare every byte; a table: `python benchmarks/determinism.py`.

Paths, locales, time zones, hash seeds and cores vary, one or more at a time, against a first plain run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from copies import copy_tree  # noqa: E402 - found by the line above
from smoke import arguments  # noqa: E402

GERMAN = "de_DE.ISO-8859-1"  # a decimal comma, and not UTF-8
SURROUNDINGS: list[tuple[str, str, int, dict[str, str]]] = [
    ("another path, with a space", "a path/with spaces/tilecast", 2, {}),
    ("one core, PYTHONHASHSEED=0", "one", 1, {"PYTHONHASHSEED": "0"}),
    (
        "PYTHONHASHSEED=4242, LC_ALL=C, TZ=Pacific/Kiritimati",
        "zone",
        2,
        {"PYTHONHASHSEED": "4242", "LC_ALL": "C", "TZ": "Pacific/Kiritimati"},
    ),
    (f"LC_ALL={GERMAN}, TZ=America/St_Johns", "german", 2, {"LC_ALL": GERMAN, "TZ": "America/St_Johns"}),
]


def german(folder: Path) -> dict[str, str]:
    """Make that locale, which few machines have; the variable under which it is found."""
    folder.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / GERMAN)]
    subprocess.run(command, check=True, capture_output=True)
    return {"LOCPATH": str(folder)}


def main() -> None:
    """Print one row for each surrounding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the smoke workflow, not the whole one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="determinism-") as scratch:
        first = copy_tree(Path(scratch, "first"))
        first.snakemake(*(arguments(tree=first.root) if options.smoke else []))
        expected = first.results()
        print(
            f"| surrounding, against a first run of {len(expected)} files | files that differ |\n|---|---|",
            flush=True,
        )
        places = german(Path(scratch, "locales"))
        for words, folder, cores, variables in SURROUNDINGS:
            copy = copy_tree(Path(scratch, folder), **places)
            copy.snakemake(*(arguments(tree=copy.root) if options.smoke else []), cores=cores, **variables)
            found = copy.results()
            differ = sorted(
                name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
            )
            print(f"| {words} | {', '.join(differ) or 'none'} |", flush=True)


if __name__ == "__main__":
    main()
