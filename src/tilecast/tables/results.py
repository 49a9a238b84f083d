"""The manifest of results: what a whole run made, and what of it is no longer as it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.tables.declared.results import RESULTS
from tilecast.tables.io import read, write

if TYPE_CHECKING:
    import pandas as pd

NAME = "manifest.csv"
FOREIGN = "is foreign: no step of the workflow makes it"
Problem = tuple[str, str]  # path within the results, what is wrong with it


def write_manifest(folder: Path, made: Iterable[str], others: Iterable[str], state: Path) -> pd.DataFrame:
    """Write manifest.csv: the files of `folder` that match `made`, what steps make; `others` may be there besides.

    `state` keeps when each file was made. One that changed without a new time stamp is refused: no step did that.
    """
    import pandas as pd

    patterns = sorted({*made, *others} - {NAME})
    listed = files_made(folder, made)
    before, now = _state(state), {}
    changed: list[str] = []
    rows: list[dict[str, object]] = []
    for name in listed:
        about, digest = (folder / name).stat(), digest_of(folder / name)
        now[name] = [about.st_mtime_ns, digest]
        rows.append({"path": name, "size_bytes": about.st_size, "sha256": digest})
        if name in before and before[name][0] == about.st_mtime_ns and before[name][1] != digest:
            changed.append(str(folder / name))
    if changed:
        problem = "changed after a run had made it, its time stamp kept"
        raise InputError(", ".join(changed), problem, "make it anew: snakemake --cores all --force and its name")
    rows += [{"path": one} for one in patterns if "*" in one or one not in now]
    table = pd.DataFrame(rows, columns=list(RESULTS.columns)).astype({"size_bytes": "Int64"})
    write(table, folder / NAME, RESULTS)
    write_text(state, json.dumps(now, indent=0, sort_keys=True) + "\n")
    return table


def problems(folder: Path) -> list[Problem]:
    """What is missing, cut short, changed, or made by no step, by path."""
    if not (folder / NAME).is_file():
        raise InputError(folder / NAME, "does not exist", "a whole run writes it: make reproduce")
    table = read(folder / NAME, RESULTS)
    half = table[table["sha256"].notna() != table["size_bytes"].notna()]
    if len(half):
        problem = f"gives {half['path'].iloc[0]} a size or a checksum, not both"
        raise InputError(folder / NAME, problem, "a whole run writes it anew: make reproduce")
    listed = table[table["sha256"].notna()]
    asked = table.loc[table["sha256"].isna(), "path"].tolist()
    found, there = [], set(_files(folder))
    for name, size, digest in listed[["path", "size_bytes", "sha256"]].itertuples(index=False):
        if name not in there:
            found.append((name, "is missing"))
        elif (about := (folder / name).stat()).st_size < size:
            found.append((name, f"is cut short: {about.st_size:,} of {size:,} bytes"))
        elif about.st_size != size or digest_of(folder / name) != digest:
            found.append((name, "is not what the run made (its checksum differs)"))
    for name in sorted(there - set(listed["path"]) - {NAME}):
        if not _is_of(name, asked):
            found.append((name, FOREIGN))
    return found


def files_made(folder: Path, made: Iterable[str]) -> list[str]:
    """The files of `folder` that match `made`, what steps make, but for the manifest itself."""
    return [name for name in _files(folder) if _is_of(name, made) and name != NAME]


def _files(folder: Path) -> Iterator[str]:
    """Files below a folder, in order; what begins with a dot is kept for a step to go on from, and no result."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            yield name


def _is_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether a path is one of what steps make: a file, or in a folder."""
    return any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}/*") for one in patterns)


def digest_of(file: Path) -> str:
    """The SHA-256 of a file."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(file, f"cannot be read ({error.strerror})") from None


def _state(file: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
