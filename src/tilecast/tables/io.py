"""Reading and writing of every declared table.

Small tables that a person reads are CSV, large ones Parquet; the path's ending decides. A table is checked
against its declared schema on the way in and on the way out, and a failure names file, row and column.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.documents import regular
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path
from tilecast.tables.schema import Column, Table

if TYPE_CHECKING:
    import pandas as pd
LARGEST_TABLE_BYTES = 4 << 30
MOST_CELLS = 100_000_000  # of a Parquet file that is read whole: a gigabyte in memory
DTYPES: dict[str, Any] = {"text": "str", "integer": "int64", "number": "float64", "flag": "bool"}
WITH_EMPTY = DTYPES | {"integer": "Int64", "flag": "boolean"}


def dtype(column: Column) -> Any:
    """The column's type in a frame."""
    return (WITH_EMPTY if column.nullable else DTYPES)[column.kind]


def _series(frame: pd.DataFrame, name: str, column: Column, where: str) -> pd.Series:
    """`frame[name]` in its declared type, or an error naming the first offending row."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    raw = frame[name]
    numeric, text = is_numeric_dtype(raw), isinstance(raw.dtype, pd.StringDtype)
    empty = raw.isna()
    if not numeric:  # a cell of Parquet may be a list, with which nothing can be compared
        empty = empty | ((raw == "") if text else raw.map(lambda cell: isinstance(cell, str) and not cell))
    if not column.nullable and bool(empty.any()):
        raise InputError(f"{where}, {_row(empty)}, column {name}", "is empty", f"expected {_a(column.kind)}")
    if column.kind == "text":
        return (raw if text else raw.map(str)).astype("str").mask(empty)
    if column.kind == "flag":
        lowered = raw.map(lambda cell: str(cell).lower())
        bad = ~lowered.isin(["true", "false"]) & ~empty
        if bool(bad.any()):
            raise InputError(f"{where}, {_row(bad)}, column {name}", f"{_shown(raw[bad])} is not true or false")
        return (lowered == "true").astype(dtype(column)).mask(empty)
    numbers = raw if numeric and not is_bool_dtype(raw) else pd.to_numeric(raw.astype("str"), errors="coerce")
    bad = numbers.isna() & ~empty | numbers.isin([float("inf"), float("-inf")])
    if column.kind == "integer":
        whole = (numbers == numbers.round()) & (numbers >= -(2**63)) & (numbers < 2**63)
        bad |= numbers.notna() & ~whole.fillna(False).astype(bool)
    if bool(bad.any()):
        raise InputError(f"{where}, {_row(bad)}, column {name}", f"{_shown(raw[bad])} is not {_a(column.kind)}")
    return numbers.astype(dtype(column))


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "integer" else f"a {kind}"


def _row(mask: pd.Series) -> str:
    """Name the first row of a mask as an editor counts a CSV's lines."""
    return f"line {int(str(mask.idxmax())) + 2}"


def _shown(bad: pd.Series) -> str:
    """The first offending value as a person wrote it."""
    value = bad.iloc[0]
    return repr(value) if isinstance(value, str) else str(value)


def _in_range(series: pd.Series, name: str, column: Column, where: str) -> None:
    checks = (
        (
            "values",
            lambda: ~series.isin(list(column.values or ())),
            f"expected one of {', '.join(column.values or ())}",
        ),
        ("minimum", lambda: series < column.minimum, f"expected at least {column.minimum}"),
        ("above", lambda: series <= column.above, f"expected more than {column.above}"),
    )
    for attribute, failing, expected in checks:
        if getattr(column, attribute) is None:
            continue
        bad = failing() & series.notna()
        if bool(bad.any()):
            raise InputError(
                f"{where}, {_row(bad)}, column {name}", f"{_shown(series[bad])} is not allowed", expected
            )


def check(frame: pd.DataFrame, table: Table, where: object) -> pd.DataFrame:
    """`frame` with the declared columns, order and types of `table`; raises InputError on the first violation."""
    import pandas as pd

    missing = [name for name in table.columns if name not in frame.columns]
    extra = [str(name) for name in frame.columns if name not in table.columns]
    expected = f"a {table} table has {', '.join(table.columns)}"
    if missing:
        raise InputError(str(where), f"column {', '.join(missing)} is missing", expected)
    if extra:
        raise InputError(str(where), f"column {', '.join(extra)} is not known", expected)
    checked = {}
    for name, column in table.columns.items():
        checked[name] = _series(frame, name, column, str(where))
        _in_range(checked[name], name, column, str(where))
    result = pd.DataFrame(checked)
    if table.key:
        twice = result.duplicated(list(table.key))
        if bool(twice.any()):
            cell = ", ".join(str(result[name][twice].iloc[0]) for name in table.key)
            raise InputError(f"{where}, {_row(twice)}", f"the cell ({cell}) occurs twice", "keep one of them")
    return result.reset_index(drop=True)


def read_raw(path: str | os.PathLike[str], table: Table, only: tuple[str, str] | None = None) -> pd.DataFrame:
    """Read a file that should hold `table`, unchecked; the index counts its lines from 0 after the header.

    `only`, for Parquet: a column and the value of the rows wanted; the others are not held in memory.
    """
    import pandas as pd

    source = regular(path, LARGEST_TABLE_BYTES)
    try:
        if source.suffix == ".parquet":
            if only is None:
                _fits(source, len(table.columns))
            return pd.read_parquet(source, filters=[(only[0], "==", only[1])] if only else None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a row longer than the header is cut with a warning only
            frame = pd.read_csv(
                source,
                dtype={name: "str" for name, column in table.columns.items() if column.kind == "text"},
                keep_default_na=False,
                na_values={name: [""] for name in table.columns},
                index_col=False,
                skip_blank_lines=False,
                encoding="utf-8-sig",
            )
        return frame.dropna(how="all")  # blank lines, counted
    except InputError:
        raise
    except Exception as error:  # a parser's own words, whatever it raises on foreign bytes
        raise InputError(str(source), f"cannot be read as a table ({error})") from None


def _fits(source: Path, declared: int) -> None:
    """Refuse a Parquet file that would not fit in memory: equal rows take next to no space in the file."""
    from pyarrow import parquet

    about = parquet.read_metadata(source)
    if about.num_columns > 10 * declared or about.num_rows * about.num_columns > MOST_CELLS:
        size = f"{about.num_rows:,} rows of {about.num_columns:,} columns"
        raise InputError(
            str(source), f"holds {size}", f"expected {declared} columns and at most {MOST_CELLS:,} cells"
        )


def read(path: str | os.PathLike[str], table: Table, only: tuple[str, str] | None = None) -> pd.DataFrame:
    """Read and check one table, or `only` the rows with a value in a column; CSV or Parquet by the ending."""
    return check(read_raw(path, table, only), table, path)


def write(frame: pd.DataFrame, path: str | os.PathLike[str], table: Table, significant: int | None = None) -> None:
    """Check and write one table atomically and byte-deterministically; in CSV with so many significant digits."""
    write_presented(check(frame.reset_index(drop=True), table, path), path, significant)


def write_presented(frame: pd.DataFrame, path: str | os.PathLike[str], significant: int | None = None) -> None:
    """Write the data of a figure or a paper table, whose columns are its own; all other tables are declared."""
    with atomic_path(path) as temporary:
        if Path(path).suffix == ".parquet":
            frame.to_parquet(temporary, index=False, compression="zstd")
        else:
            digits = f"%.{significant}g" if significant else None
            frame.to_csv(temporary, index=False, lineterminator="\n", float_format=digits)


def empty(table: Table) -> pd.DataFrame:
    """The table without rows, in its declared types."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series([], dtype=dtype(column)) for name, column in table.columns.items()})
