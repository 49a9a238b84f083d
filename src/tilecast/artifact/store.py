"""Reading the fetched artifact: one zip of verified files, and parsing that names file and row on bad content."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tilecast.errors import InputError
from tilecast.tables import check, empty

if TYPE_CHECKING:
    import pandas as pd


def load(archive: str | os.PathLike[str], *folders: str) -> dict[str, bytes]:
    """The archive's files below `folders` (all if none), by path, sorted."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = sorted(n for n in opened.namelist() if not folders or n.startswith(folders))
            return {name: opened.read(name) for name in names}
    except FileNotFoundError:
        raise InputError(str(archive), "does not exist") from None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise InputError(str(archive), f"is damaged ({error})", "delete it and run again") from None


def parse_json(path: str, data: bytes, numbers: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in `data`; each key in `numbers` must be there and be a number that is not negative."""
    try:
        parsed = json.loads(data)
    except ValueError as error:  # covers text that is not UTF-8 and JSON that is cut short
        raise InputError(path, f"is not JSON ({error})") from None
    if not isinstance(parsed, dict):
        raise InputError(path, "is not a JSON object")
    for key in (*numbers, *(key for key in optional if key in parsed)):
        value = parsed.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(path, f"`{key}` = {value!r} is not a number")
        if not 0 <= value < float("inf"):
            raise InputError(path, f"`{key}` = {value!r} is not a number of at least 0")
    return parsed


def parse_csv(path: str, data: bytes, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns of a CSV file that `columns` names, all of which must be there, under their tidy names."""
    import pandas as pd

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
    return frame.rename(columns=columns)


def combine(parts: list[tuple[dict[str, Any], pd.DataFrame]], table: str) -> pd.DataFrame:
    """One checked table from (constant columns, rows) of each file; an error names the file and its line."""
    import pandas as pd

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
