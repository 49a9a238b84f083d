"""One PDF of all paper tables, set with typst and the fonts it brings along."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.errors import InputError
from tilecast.base.files import write_bytes

_HEAD = """\
#set document(title: "Tables", date: none)
#set page(paper: "a4", flipped: true, margin: 1.4cm, numbering: "1")
#set text(font: "Libertinus Serif", size: 8pt, number-width: "tabular")
#set table(inset: (x: 4pt, y: 2.2pt))
#show figure: set block(breakable: true)
#show figure.caption: set align(left)
#set figure.caption(position: top)
#show figure: it => { it; v(1em) }
"""


def write_pdf(fragments: Iterable[str], output: str) -> None:
    """Typeset the tables' typst fragments, in their order; no system font, no date: the same bytes everywhere."""
    import typst

    source = _HEAD + "\n#pagebreak(weak: true)\n".join(
        Path(path).read_text(encoding="utf-8") for path in fragments
    )
    try:
        pdf = typst.compile(source.encode(), format="pdf", ignore_system_fonts=True, timestamp=0)
    except typst.TypstError as error:
        raise InputError(output, f"typst could not set the tables ({error.message})") from None
    write_bytes(output, pdf)
