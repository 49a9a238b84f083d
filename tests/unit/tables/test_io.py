"""Tables: declared columns are enforced, in and out, with the line an editor shows."""

import os
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tilecast.base.errors import InputError
from tilecast.tables.columns import MAPE_PERCENT
from tilecast.tables.declared.artifact import DEFECTS
from tilecast.tables.declared.claims import CLAIMS, KINDS, WHOSE
from tilecast.tables.document import stages
from tilecast.tables.io import MOST_CELLS, check, dtype, empty, read, write
from tilecast.tables.schema import Table, flag, positive, size

DEFECT = {"kind": "unit", "where": "a, b", "detail": 'says "GHz"\n<script>', "severity": "note"}
CLAIM = {
    "id": "c", "title": "t", "whose": WHOSE[0], "source": "s", "kind": KINDS[0], "hardware": "", "quote": "q",
    "claimed": "1", "unit": None, "reproduced": "", "n": 3, "verdict": "reproduced", "definition": "d",
    "explanation": "e", "other_readings": "",
}  # fmt: skip


@pytest.mark.parametrize("table", [table for _, tables in stages().values() for table in tables], ids=str)
@pytest.mark.parametrize("ending", [".csv", pytest.param(".parquet", marks=pytest.mark.slow)])
def test_an_empty_table_survives_the_round_trip_in_its_types(tmp_path, table, ending):
    write(empty(table), tmp_path / f"t{ending}", table)
    back = read(tmp_path / f"t{ending}", table)
    assert back.empty
    wanted = {name: dtype(column) for name, column in table.columns.items()}
    assert {name: str(kind) for name, kind in back.dtypes.items()} == wanted


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_survives_the_round_trip_and_is_the_same_bytes_twice(tmp_path, ending):
    frame = pd.DataFrame([DEFECT, {**DEFECT, "kind": "NA"}])  # NA is text here, not a missing value
    for name in ("one", "two"):
        write(frame, tmp_path / f"{name}{ending}", DEFECTS)
    assert read(tmp_path / f"one{ending}", DEFECTS).to_dict("records") == frame.to_dict("records")
    assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


def test_empty_text_is_missing_only_where_it_may_be():
    checked = check(pd.DataFrame([CLAIM]), CLAIMS, "here")
    assert checked[["unit", "reproduced"]].isna().all(axis=None)
    with pytest.raises(InputError, match="here, line 2, column quote: is empty"):
        check(pd.DataFrame([{**CLAIM, "quote": ""}]), CLAIMS, "here")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": "three"}, "column n: 'three' is not an integer"),
        ({"n": 2.5}, "column n: 2.5 is not an integer"),
        ({"n": True}, "column n: True is not an integer"),
        ({"n": float("inf")}, "column n: inf is not an integer"),
        ({"n": 1e300}, "column n: 1e+300 is not an integer"),
        ({"n": "9223372036854775808"}, "column n: '9223372036854775808' is not an integer"),
        ({"n": -1}, "column n: -1 is not allowed; expected at least 0"),
        ({"verdict": "maybe"}, "column verdict: 'maybe' is not allowed; expected one of reproduced, "),
    ],
)
def test_a_bad_value_names_line_column_and_expectation(changes, said):
    rows = pd.DataFrame([CLAIM, {**CLAIM, "id": "d", **changes}])
    with pytest.raises(InputError) as caught:
        check(rows, CLAIMS, "file.csv")
    assert str(caught.value).startswith(f"file.csv, line 3, {said}")


def test_numbers_written_as_text_are_numbers():
    assert check(pd.DataFrame([{**CLAIM, "n": "7"}]), CLAIMS, "x")["n"].tolist() == [7]


def test_columns_are_those_declared_in_their_order():
    shuffled = pd.DataFrame([CLAIM])[sorted(CLAIM)]
    assert list(check(shuffled, CLAIMS, "x").columns) == list(CLAIMS.columns)
    with pytest.raises(InputError, match="column quote is missing"):
        check(shuffled.drop(columns="quote"), CLAIMS, "x")
    with pytest.raises(InputError, match="column more is not known"):
        check(shuffled.assign(more=1), CLAIMS, "x")


def test_a_key_may_occur_once():
    with pytest.raises(InputError, match=r"x, line 3: the cell \(c\) occurs twice"):
        check(pd.DataFrame([CLAIM, CLAIM]), CLAIMS, "x")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.csv"
    write(pd.DataFrame([DEFECT]), path, DEFECTS)
    before = path.read_bytes()
    with pytest.raises(InputError):
        write(pd.DataFrame([{**DEFECT, "severity": "grave"}]), path, DEFECTS)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_damaged_or_missing_file_is_one_line(tmp_path, name):
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / name, DEFECTS)
    (tmp_path / name).write_bytes(b"PAR1\0\xff\xfe")
    with pytest.raises(InputError, match=name):
        read(tmp_path / name, DEFECTS)


def test_a_column_says_how_it_is_titled_and_in_which_unit():
    table = Table(
        "t", "words", (), latency_ms=positive("x"), baseline_tokens_per_s=positive("x"), mape_percent=MAPE_PERCENT
    )
    shown = {name: (column.title, column.unit, column.digits) for name, column in table.columns.items()}
    assert shown == {
        "latency_ms": ("Latency", "ms", 1),
        "baseline_tokens_per_s": ("Baseline", "tokens/s", 1),
        "mape_percent": ("MAPE", "%", 1),
    }


def test_whole_numbers_and_flags_may_be_missing_and_stay_what_they_are(tmp_path):
    table = Table("t", "words", (), n=size("x", empty="none"), done=flag("x", empty="not asked"))
    write(pd.DataFrame({"n": [3, None], "done": [None, True]}), tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "n,done\n3,\n,True\n"
    assert read(tmp_path / "t.csv", table)["n"].tolist() == [3, pd.NA]


def test_no_table_is_written_that_is_not_declared(repository):
    """Only figures and paper tables have columns of their own; one table is written row group by row group."""
    allowed = {
        "src/tilecast/tables/io.py": {"to_csv", "to_parquet", "write_presented"},
        "src/tilecast/present/paper/render.py": {"write_presented"},
        "src/tilecast/present/figures/style.py": {"write_presented"},
        "src/tilecast/artifact/aiconfigurator_tables.py": {"ParquetWriter"},
    }
    found = {}
    for path in [*(repository / "src").rglob("*.py"), *(repository / "workflow").rglob("*.py")]:
        calls = set(re.findall(r"\b(to_csv|to_parquet|write_presented|ParquetWriter)\(", path.read_text()))
        if calls:
            found[path.relative_to(repository).as_posix()] = calls
    assert found == allowed


def test_a_small_file_that_stands_for_gigabytes_is_refused_before_it_is_read(tmp_path):
    """Equal rows take next to no space in Parquet: what its header says is asked first."""
    rows = MOST_CELLS // len(DEFECTS.columns) + 1
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype="int32")), pa.array(["x"]))
    parquet.write_table(pa.table(dict.fromkeys(DEFECTS.columns, one)), tmp_path / "bomb.parquet")
    wide = pa.table({f"c{number}": pa.array([1]) for number in range(10 * len(DEFECTS.columns) + 1)})
    parquet.write_table(wide, tmp_path / "wide.parquet")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, said in (
        ("bomb.parquet", "100,000,000 cells"),
        ("wide.parquet", "columns"),
        ("pipe.csv", "not a file"),
    ):
        with pytest.raises(InputError, match=said):
            read(tmp_path / name, DEFECTS)
