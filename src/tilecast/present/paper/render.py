"""A paper table as CSV, HTML, LaTeX and typst; every cell is data, whatever characters it holds."""

from __future__ import annotations

from html import escape

from tilecast.base.files import write_text
from tilecast.present.paper.model import PaperTable, heading, numeric, one_line, shown
from tilecast.tables.io import write_presented
from tilecast.tables.schema import Column

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    # after a row's end, LaTeX would read these as the row's own options
    "[": "{[}", "]": "{]}", "*": "{*}",
    "/": r"/\allowbreak{}",  # a path or an address may be divided there
    "–": "--", "—": "---", "±": r"\ensuremath{\pm}", "×": r"\ensuremath{\times}", "−": r"\ensuremath{-}",
}  # fmt: skip


def write_all(table: PaperTable, stem: str) -> None:
    """Write the four forms: `stem` with .csv, .html, .tex and .typ."""
    import pandas as pd

    write_presented(pd.DataFrame(table.rows, columns=list(table.columns)), f"{stem}.csv")
    for form, text in (("html", as_html(table)), ("tex", as_latex(table)), ("typ", as_typst(table))):
        write_text(f"{stem}.{form}", text)


def as_html(table: PaperTable) -> str:
    """A `<table>` fragment; classes: n (number), text, prose, absent (why there is no number)."""
    lines = [f'<table id="paper-{escape(table.name)}" class="paper-table" data-sortable>']
    lines.append(f"<caption>{escape(table.title)}. <span>{escape(table.note)}</span></caption>")
    lines.append("<thead><tr>")
    for column in table.columns.values():
        unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
        lines.append(f'<th scope="col" class="{_kind(column)}">{escape(column.title)}{unit}</th>')
    lines.append("</tr></thead>\n<tbody>")
    for row in table.rows:
        lines.append("<tr>")
        for place, (name, column) in enumerate(table.columns.items()):
            value, words = row[name], escape(shown(row[name], column))
            if place == 0:
                lines.append(f'<th scope="row" class="{_kind(column)}">{words}</th>')
            elif numeric(column) and isinstance(value, str):
                lines.append(f'<td class="n absent">{words}</td>')
            elif numeric(column):
                lines.append(f'<td class="n" data-value="{float(value)!r}">{words}</td>')
            else:
                lines.append(f'<td class="{_kind(column)}">{words}</td>')
        lines.append("</tr>")
    return "\n".join([*lines, "</tbody>\n</table>"]) + "\n"


def _kind(column: Column) -> str:
    return "n" if numeric(column) else "prose" if column.prose else "text"


def latex_text(text: str) -> str:
    """The text as LaTeX that prints it and does nothing else."""
    return "".join(_LATEX.get(character, character) for character in text)


def as_latex(table: PaperTable) -> str:
    """A longtable with booktabs' rules, no wider than a landscape page of tables.tex."""
    every = table.columns.values()
    columns = "".join(
        f">{{\\ragged{'left' if numeric(column) else 'right'}\\arraybackslash}}p{{{width:.1f}em}}"
        for column, width in zip(every, _widths(table), strict=True)
    )
    head = " & ".join(f"\\textbf{{{latex_text(heading(column))}}}" for column in every)
    lines = [
        "% \\usepackage{array,booktabs,longtable} and, for other than Latin letters, LuaLaTeX",
        f"\\begin{{longtable}}{{{columns}}}",
        f"\\caption{{{latex_text(table.caption)}}}\\label{{tab:{latex_label(table.name)}}} \\\\",
        f"\\toprule\n{head} \\\\\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot",
    ]
    for row in table.rows:
        lines.append(" & ".join(latex_text(shown(row[name], c)) for name, c in table.columns.items()) + " \\\\")
    return "\n".join([*lines, "\\end{longtable}"]) + "\n"


LINE_EM, BETWEEN_EM, CHARACTER_EM, BOLD_EM = 94.0, 0.8, 0.6, 0.8


def _widths(table: PaperTable) -> list[float]:
    """The width of each column in em: its longest cell, and its heading's longest word, as far as all fit a line.

    Where they do not, no column is wider than what the narrower ones leave to each.
    """
    wanted = []
    for name, column in table.columns.items():
        cells = CHARACTER_EM * max((len(shown(row[name], column)) for row in table.rows), default=1)
        wanted.append(max(cells, BOLD_EM * max(map(len, heading(column).split()))))
    free, found = LINE_EM - BETWEEN_EM * len(wanted), [0.0] * len(wanted)
    narrowest_first = sorted(range(len(wanted)), key=wanted.__getitem__)
    for done, place in enumerate(narrowest_first):
        found[place] = min(wanted[place], free / (len(wanted) - done))
        free -= found[place]
    return found


def latex_label(name: str) -> str:
    """A label's characters: letters, digits and hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


def typst_text(text: str) -> str:
    """The text as a typst string: in a string only the backslash and the quote mean anything."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_typst(table: PaperTable) -> str:
    """A figure of kind table, every cell a string and never markup."""
    every = table.columns.values()
    tracks = ", ".join("1fr" if column.prose else "auto" for column in every)
    sides = ", ".join("right" if numeric(column) else "left" for column in every)
    head = ", ".join(f"strong({typst_text(one_line(heading(column)))})" for column in every)
    lines = [
        f"#figure(kind: table, caption: [#{typst_text(one_line(table.caption))}], table(",
        f"columns: ({tracks},), align: ({sides},), stroke: none,",
        f"table.hline(), table.header({head}), table.hline(stroke: 0.4pt),",
    ]
    for row in table.rows:
        lines.append(", ".join(typst_text(shown(row[name], c)) for name, c in table.columns.items()) + ",")
    return "\n".join([*lines, "table.hline()))"]) + "\n"
