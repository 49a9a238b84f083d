"""The documentation's list of tables is what is declared."""

from pathlib import Path

from tilecast.tables.document import PAGE, markdown, stages


def test_the_list_of_tables_is_current(repository: Path) -> None:
    assert (repository / PAGE).read_text() == markdown(), "run `python -m tilecast.tables.document`"


def test_every_column_has_a_title_and_words_that_are_not_its_unit() -> None:
    for _, tables in stages().values():
        for table in tables:
            for name, column in table.columns.items():
                assert column.title and column.meaning not in ("", "x", "milliseconds"), f"{table}.{name}"


def test_a_stages_tables_are_declared_nowhere_else() -> None:
    every = [table for _, tables in stages().values() for table in tables]
    assert len(every) == len({id(table) for table in every})
