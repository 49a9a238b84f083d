"""PDFs, of all paper tables or of other text, set with typst and the fonts it brings along; tables as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.errors import InputError
from tilecast.base.files import write_bytes, write_text

_HEAD = """\
#set document(title: "Tables", date: none)
#set page(paper: "a4", flipped: true, margin: 1.4cm, numbering: "1")
#set text(font: "Libertinus Serif", size: 7.5pt, number-width: "tabular")
#set table(inset: (x: 4pt, y: 1.8pt))
#show figure: set block(breakable: true)
#show figure.caption: set align(left)
#set figure.caption(position: top)
#show figure: it => { it; v(1em) }
"""


def write_pdf(fragments: Iterable[str], output: str) -> None:
    """Typeset the tables' typst fragments, in their order."""
    texts = (Path(path).read_text(encoding="utf-8") for path in fragments)
    set_pdf(_HEAD + "\n".join(texts), output)


def set_pdf(source: str, output: str) -> None:
    """Typeset typst source as a PDF; no system font, no date: the same bytes everywhere."""
    import typst

    try:
        pdf = typst.compile(source.encode(), format="pdf", ignore_system_fonts=True, timestamp=0)
    except typst.TypstError as error:
        raise InputError(output, f"typst could not set it ({error.message})") from None
    write_bytes(output, pdf)


_LATEX = r"""% All tables: run pdflatex (or lualatex, for other than Latin letters) in this folder, twice.
\documentclass[a4paper,landscape]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{array,textcomp,booktabs,longtable}
\usepackage[margin=1.4cm]{geometry}
\setlength{\tabcolsep}{3pt}
\setlength{\LTleft}{0pt}
\begin{document}
\scriptsize
"""


def write_latex(fragments: Iterable[str], output: str) -> None:
    """The document that holds the tables' LaTeX fragments, which lie beside it."""
    names = [Path(path).stem for path in fragments]
    write_text(output, _LATEX + "".join(f"\\input{{{name}.tex}}\n" for name in names) + "\\end{document}\n")
