"""Read the fetched artifact, a zip of verified files; what cannot be parsed is named by file and row."""

from __future__ import annotations

import contextlib
import csv
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from tilecast.base import documents
from tilecast.base.errors import InputError
from tilecast.tables.io import check, empty
from tilecast.tables.schema import Table

LARGEST_BYTES = 2 << 30  # of all files read at once


@contextlib.contextmanager
def _opened(archive: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except FileNotFoundError:
        raise InputError(archive, "does not exist") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise InputError(archive, f"is damaged ({error})", "delete it and run again") from None


def paths(archive: str | os.PathLike[str]) -> set[str]:
    """The paths of all files in the archive."""
    with _opened(archive) as opened:
        return set(opened.namelist())


def load(archive: str | os.PathLike[str], *folders: str) -> dict[str, bytes]:
    """The archive's files below `folders`, by path, sorted."""
    with _opened(archive) as opened:
        wanted = sorted(name for name in opened.namelist() if name.startswith(folders))
        size = sum(opened.getinfo(name).file_size for name in wanted)
        if size > LARGEST_BYTES:
            raise InputError(archive, f"would unpack to {size} bytes, more than any artifact", "do not trust it")
        return {name: opened.read(name) for name in wanted}


def parse_json(path: str, data: bytes, numbers: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in `data`; each key in `numbers` must be there and be a number that is not negative."""
    parsed = documents.parse_json(data, path)
    if not isinstance(parsed, dict):
        raise InputError(path, "is not a JSON object")
    for key in (*numbers, *(key for key in optional if key in parsed)):
        value = parsed.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(path, f"`{key}` = {documents.shown(value)} is not a number")
        if not 0 <= value < 1e18:  # whole numbers know no infinity
            problem = f"`{key}` = {documents.shown(value)} is not a number of at least 0, or beyond 1e18"
            raise InputError(path, problem)
    return parsed


def parse_csv(path: str, data: bytes, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns of a CSV file that `columns` names, all of which must be there, under their tidy names."""
    try:
        header = next(csv.reader([data.split(b"\n", 1)[0].decode().rstrip("\r")]), [])
        missing = [name for name in columns if name not in header]
        if missing:
            raise InputError(path, f"column {', '.join(missing)} is missing")
        frame = pd.read_csv(io.BytesIO(data), usecols=list(columns), keep_default_na=False, na_values=[""])
    except InputError:
        raise
    except Exception as error:  # a parser's own words, whatever it raises on foreign bytes
        raise InputError(path, f"cannot be read as a table ({error})") from None
    for name in frame.columns[frame.dtypes == "object"]:  # whole numbers beyond every type, or of several kinds
        frame[name] = frame[name].astype("str")
    return frame.rename(columns=columns)


def combine(parts: list[tuple[dict[str, Any], pd.DataFrame]], table: Table) -> pd.DataFrame:
    """One checked table from (constant columns, rows) of each file; an error names the file and its line."""
    if not parts:
        return empty(table)
    whole = pd.concat([frame for _, frame in parts], ignore_index=True)
    constants = pd.DataFrame([constant for constant, _ in parts])
    repeated = constants.loc[constants.index.repeat([len(frame) for _, frame in parts])].reset_index(drop=True)
    whole = pd.concat([whole, repeated], axis="columns")
    try:
        return check(whole, table, f"the artifact's {table}")
    except InputError:
        for path, part in whole.groupby("source", sort=False):
            check(part.reset_index(drop=True), table, path)
        raise  # nothing wrong within a file: what is wrong lies between files
