"""List the licences of all pinned packages: `python licences.py [FILE]`, which `make licences` runs.

A licence is taken from a package's installed metadata: its SPDX expression, else its classifiers, else its licence
field where that is one line, else the first line of its licence file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# Permissive, and MPL-2.0, whose terms hold for its own files only: all are used as they are, so this repository's
# MIT licence stands.
COMPATIBLE = re.compile(
    "MIT|MIT-0|MIT-CMU|BSD|BSD-[23]-Clause|0BSD|Apache-2.0|Apache-2.0 WITH LLVM-exception|ISC|Zlib"
    "|PSF-2.0|CNRI-Python|BSL-1.0|CC0-1.0|public domain|MPL-2.0"
)

# How packages without an SPDX expression write these.
NAMES = {
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "BSD License": "BSD",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD-3-Clause License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Public Domain": "public domain",
}

# Where the metadata says something else than holds for the wheel.
READ_BY_HAND = {
    # Its classifiers name the GPL too, for a mode of Emacs that is in the source archive and not in the wheel.
    "docutils": ["public domain", "BSD-2-Clause"],
}


def licences(package: Distribution) -> list[str]:
    """The licences that a package is under, all of which are to be kept; a name not in NAMES stays as it is."""
    if known := READ_BY_HAND.get(canonicalize_name(package.name)):
        return known
    fields = package.metadata
    expression, field = fields.get("License-Expression"), (fields.get("License") or "").strip()
    classifiers = [
        text.rpartition(" :: ")[2] for text in fields.get_all("Classifier") or [] if "License ::" in text
    ]
    if expression or (not classifiers and field and "\n" not in field):
        found = re.split(r" AND ", expression or field)
    else:
        found = classifiers or [first_line(package)]
    return sorted({NAMES.get(name, name) for name in found})


def compatible(licence: str) -> bool:
    """Whether the repository may depend on a package under this licence, or under one of those to choose from."""
    return any(COMPATIBLE.fullmatch(choice) for choice in licence.split(" OR "))


def first_line(package: Distribution) -> str:
    """The first line with words of a package's licence file."""
    for file in package.files or []:
        if re.match(r"(?i).*\.dist-info/(licenses/)?(licen[cs]e|copying)[^/]*$", str(file)):
            return next(line.strip() for line in file.read_text().splitlines() if line.strip())
    return "not stated"


def rows(found: Iterator[Distribution], names: set[str]) -> dict[str, tuple[str, str]]:
    """Version and licences of the packages with these normalised names, by name."""
    by_name = {canonicalize_name(package.name): package for package in found}
    return {
        name: (package.version.partition("+")[0], ", ".join(licences(package)))
        for name, package in by_name.items()
        if name in names
    }


# Files of others that are kept here as they were published in the npm registry, and what each is for.
VENDORED = {
    "report/vendor/uPlot.iife.min.js": ("MIT", "points of a figure one by one; its licence is in each page"),
    "report/vendor/uPlot.min.css": ("MIT", "the same"),
    "tests/support/vendor/axe.min.js": ("MPL-2.0", "a test holds its rules against the report; in no wheel"),
}


def vendored() -> str:
    """A line of the table for each file of others; a version is the one that the package's script states."""
    lines = []
    for name, (licence, what) in VENDORED.items():
        script = (ROOT / name).with_name(Path(name).name.replace(".min.css", ".iife.min.js"))
        found = re.search(r"v(\d+\.\d+\.\d+)", script.read_text(encoding="utf-8")[:300])
        assert found is not None and (ROOT / name).is_file() and compatible(licence), name
        lines.append(f"| `{name}` | {found[1]} | {licence} | {what} |\n")
    return "".join(lines)


def pinned() -> dict[str, str]:
    """The versions of all files in requirements/ but those of tools that are only run, by normalised name.

    Where two are pinned (python-dateutil), the first file in the order of the alphabet is the one that counts.
    """
    versions: dict[str, str] = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        if path.name not in ("package.txt", "tools.txt"):
            for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), re.MULTILINE):
                versions.setdefault(canonicalize_name(name), version)
    return versions


def page() -> str:
    """The table of docs/develop/licences.md."""
    names = set(pinned())
    docs = [str(path) for path in ROOT.glob("build/docs/lib/*/site-packages")]
    table = rows(distributions(path=docs), names) | rows(distributions(), names)
    table |= rows(distributions(path=[str(ROOT / "build/cluster")]), names)
    if missing := names - set(table):
        raise SystemExit(f"not installed, `make licences` installs all: {', '.join(sorted(missing))}")
    return f"""# Licences of the dependencies

Written by `make licences` from the metadata of what is installed. A test compares it with `requirements/`, and
refuses a licence that is unknown, or incompatible with the repository's own (MIT). No package is copied
into it, but three files, unchanged:

| file | version | licence | for |
|---|---|---|---|
{vendored()}
The packages:

| package | version | licence |
|---|---|---|
""" + "".join(f"| {name} | {version} | {licence} |\n" for name, (version, licence) in sorted(table.items()))


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "/dev/stdout").write_text(page())
