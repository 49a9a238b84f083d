"""Paper tables: what is in them, and that no cell can be anything but text."""

import csv
import json
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
import typst
from latex import latex

from tilecast.present.paper import claims, end_to_end, mape, operators
from tilecast.present.paper.catalog import makers
from tilecast.present.paper.model import PaperTable, one_line, shown
from tilecast.present.paper.pdf import write_latex, write_pdf
from tilecast.present.paper.render import as_html, as_latex, as_typst, latex_text, write_all
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.claims import CLAIMS
from tilecast.tables.declared.evaluation import ERRORS, MAPE, OPERATOR_ERRORS
from tilecast.tables.io import empty
from tilecast.tables.schema import number, prose, text

HOSTILE = (
    "<script>alert(1)</script>",
    '"); #panic("no") //',
    '#image("/etc/passwd")',
    "$x$ *bold* _it_ @ref <label> = head",
    "\\input{/etc/passwd} & % # ~ ^ | `x` \\\\[3cm]",
    "[2cm] after a row's end",
    "* after a row's end",
    "line\nbreak\ttab\x00nul\u2028separator",
    "]] \\end{longtable} }} \\",
)


def cell(predictor="neusight_published", device="NVIDIA_L4", model="gpt2_large", option="none", **changes):
    """One row of the errors table."""
    row = {
        "predictor": predictor,
        "device": device,
        "model": model,
        "mode": "inference",
        "sequence_length": 1024,
        "batch_size": 4,
        "option": option,
        "measured_ms": 100.0,
        "predicted_ms": 90.0,
        "ape_percent": 10.0,
        "distribution": "out",
    }
    return row | changes


def label(**changes):
    """One row of the labels table."""
    row = {
        "device": "NVIDIA_L4",
        "model": "gpt2_large",
        "mode": "inference",
        "sequence_length": 1024,
        "batch_size": 4,
        "option": "none",
        "latency_ms": 100.0,
        "forward_ms": 100.0,
        "backward_ms": None,
        "layers": 36,
        "source": "x",
    }
    return row | changes


def text_table(words):
    """A table whose every text cell is `words`."""
    columns = {"a": text("x", title=words), "b": prose("x"), "c": number("x", unit="ms")}
    rows = ({"a": words, "b": words, "c": 1.5}, {"a": words, "b": words, "c": words})
    return PaperTable("hostile", words, words, columns, rows)


class Tags(HTMLParser):
    """Collects the elements and the text of the cells."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.attributes = set(), [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("words", HOSTILE)
def test_html_cells_stay_text(words):
    found = Tags(as_html(text_table(words)))
    assert found.tags <= {"table", "caption", "span", "thead", "tbody", "tr", "th", "td"}
    assert found.attributes <= {"id", "class", "scope", "data-sortable", "data-value"}
    assert found.texts.count(one_line(words)) >= 5


def parts(content):
    """The functions and the texts of a typst document, as its own query shows them."""
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return set(), []
    functions, texts = {content["func"]} if "func" in content else set(), []
    if content.get("func") in ("text", "symbol"):
        texts.append(content["text"])
    for inner in content.values():
        more, words = parts(inner)
        functions, texts = functions | more, texts + words
    return functions, texts


@pytest.mark.parametrize("words", HOSTILE)
def test_typst_cells_stay_text(words, tmp_path):
    source = as_typst(text_table(words)).encode()
    found = typst.query(source, "figure", ignore_system_fonts=True, root=str(tmp_path))
    functions, texts = parts(json.loads(found))
    assert functions <= {
        "figure",
        "caption",
        "table",
        "cell",
        "header",
        "hline",
        "strong",
        "text",
        "sequence",
        "space",
    }
    assert texts.count(one_line(words)) >= 5  # the cells hold exactly the words


@pytest.mark.parametrize("words", HOSTILE)
def test_latex_cells_stay_text(words):
    body = as_latex(text_table(words)).split("\\endfoot\n")[1].split("\\end{longtable}\n")[0]
    assert body.count("\\\\") == 2  # the ends of the two rows
    assert body.replace("\\&", "").count("&") == 4  # two separators a row
    assert "\\input" not in body
    for row in body.splitlines():
        assert not row.startswith(("[", "*"))


def test_latex_escapes_every_special_character():
    assert latex_text("\\{}$&#_%^~") == (r"\textbackslash{}\{\}\$\&\#\_\%\textasciicircum{}\textasciitilde{}")


def test_a_cell_must_say_something():
    for nothing in (None, "", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="says nothing"):
            PaperTable("t", "T", "n", {"a": number("x")}, ({"a": nothing},))


def test_a_column_has_one_number_of_significant_digits():
    column = number("x").named("a")
    assert [shown(v, column) for v in (5.8673, 12.94, 937.2, 5244.98, 0.0)] == [
        "5.87",
        "12.9",
        "937",
        "5,245",
        "0.00",
    ]


def test_plain_table_lists_every_label_and_says_what_lacks():
    labels = pd.DataFrame([label(), label(batch_size=8, latency_ms=200.0)])
    errors = pd.DataFrame([cell(), cell(predictor="mine", ape_percent=3.0)])
    first = end_to_end.tables(labels, errors)[0]
    assert [row["batch_size"] for row in first.rows] == [4, 8]
    assert (
        first.rows[0]["neusight_published"] == 10.0 and first.rows[0]["mine"] == 3.0
    )  # a new predictor has a column
    assert first.rows[1]["mine"] == "no prediction"
    assert '<td class="n absent">no prediction</td>' in as_html(first)


def test_fusion_pairs_fused_with_plain():
    labels = pd.DataFrame([label(), label(option="fusion", latency_ms=80.0)])
    errors = pd.DataFrame([cell(), cell(option="fusion", measured_ms=80.0, predicted_ms=88.0)])
    fusion = next(t for t in end_to_end.tables(labels, errors) if t.name == "fusion")
    (row,) = fusion.rows
    assert (row["measured_plain_ms"], row["measured_fused_ms"], row["predicted_fused_ms"]) == (100.0, 80.0, 88.0)
    alone = end_to_end.tables(labels[1:], errors[:0])[4].rows[0]
    assert (alone["measured_plain_ms"], alone["predicted_fused_ms"]) == ("no label", "no prediction")


def test_every_table_copes_with_nothing(tmp_path):
    made = [
        *claims.tables(empty(CLAIMS)),
        *mape.tables(empty(MAPE)),
        *end_to_end.tables(empty(LABELS), empty(ERRORS)),
        *operators.tables(empty(OPERATOR_ERRORS)),
    ]
    for table in made:
        write_all(table, str(tmp_path / table.name))
        with (tmp_path / f"{table.name}.csv").open() as stream:
            assert next(csv.reader(stream)) == list(table.columns)
    assert [table.name for table in made] == [name for maker in makers() for name in maker.names]
    write_pdf([str(tmp_path / f"{table.name}.typ") for table in made], str(tmp_path / "tables.pdf"))
    assert (tmp_path / "tables.pdf").read_bytes().startswith(b"%PDF")
    write_latex([f"{table.name}.typ" for table in made], str(tmp_path / "tables.tex"))
    assert (tmp_path / "tables.tex").read_text().count("\\input{") == len(made)
    assert "needs the full artifact" in made[-1].caption


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine")
def test_latex_sets_tables_within_the_page(tmp_path):
    address = "https://example.org/" + "a-long-path/" * 12
    columns = {f"c{place}": number("x", title="Mean absolute error", unit="%") for place in range(10)}
    columns |= {"t": text("x"), "p": prose("x")}
    row = dict.fromkeys(columns, 123456.0) | {"t": "words " * 30, "p": address}
    wide = PaperTable("wide", "T", "n", columns, (row, row))
    latin = [text_table(words) for words in HOSTILE if words.isascii()]
    for place, table in enumerate([wide, *latin]):
        (tmp_path / f"{place}.tex").write_text(as_latex(table))
    write_latex([f"{place}.typ" for place in range(len(latin) + 1)], str(tmp_path / "tables.tex"))
    assert latex(tmp_path) == []


def test_pdf_is_the_same_twice_and_holds_no_date(tmp_path):
    fragment = tmp_path / "a.typ"
    fragment.write_text(as_typst(text_table("x")))
    for name in ("one.pdf", "two.pdf"):
        write_pdf([str(fragment)], str(tmp_path / name))
    one, two = (tmp_path / "one.pdf").read_bytes(), (tmp_path / "two.pdf").read_bytes()
    assert one == two
    assert b"CreationDate" not in one and b"xmp:CreateDate" not in one


def test_operators_take_the_nvidia_rows():
    statistics = dict.fromkeys(list(OPERATOR_ERRORS.columns)[5:], 1.0)
    rows = [
        {"predictor": "p", "operator_class": kind, "device": device, "mode": "all", "distribution": "in"}
        | statistics
        | {"n": 7, "mape_percent": value}
        for kind, device, value in (("bmm", "NVIDIA", 12.5), ("bmm", "AMD", 99.0))
    ]
    (row,) = operators.tables(pd.DataFrame(rows))[0].rows
    assert row["bmm"] == 12.5 and row["softmax"] == "no prediction" and row["n"] == "7"
