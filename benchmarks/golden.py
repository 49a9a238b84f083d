"""The checksum of every result, to compare results before and after a change.

`golden.py write RESULTS FILE`, then `golden.py compare FILE RESULTS`. Make the results with
`snakemake --cores all --config 'measure={mode: replay}'`: what is timed is never the same twice.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path


def checksums(results: Path) -> dict[str, str]:
    """The SHA-256 of every file below the folder, by its path there; logs are no results."""
    files = sorted(path for path in results.rglob("*") if path.is_file())
    named = {path.relative_to(results): path for path in files}
    return {
        name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if name.parts[0] != "logs"
    }


def main() -> int:
    """Write a manifest, or print what differs from one; exit code 1 where anything does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["write", "compare"])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    if options.action == "write":
        lines = [f"{digest}  {name}\n" for name, digest in checksums(options.first).items()]
        options.second.write_text("".join(lines))
        print(f"{len(lines)} files")
        return 0
    pairs = (line.split("  ", 1) for line in options.first.read_text().splitlines())
    expected = {name: digest for digest, name in pairs}
    found = checksums(options.second)
    changes = {
        "different": [name for name in expected if name in found and found[name] != expected[name]],
        "missing": [name for name in expected if name not in found],
        "new": [name for name in found if name not in expected],
    }
    for kind, names in changes.items():
        for name in names:
            print(f"{kind}: {name}")
    equal = len(expected) - len(changes["different"]) - len(changes["missing"])
    print(
        f"{len(expected)} files expected, {equal} equal, " + ", ".join(f"{len(n)} {k}" for k, n in changes.items())
    )
    return int(any(changes.values()))


if __name__ == "__main__":
    sys.exit(main())
