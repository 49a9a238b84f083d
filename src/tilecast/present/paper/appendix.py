"""The artifact appendix: from every claim to a command, a file, a tolerance and the time it takes, in two pages.

It is written as Markdown, from the template report/paper/appendix.md, and set as a PDF from that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import Template

import pandas as pd

from tilecast import __released__, __version__
from tilecast.evaluate.claims import DATASETS, Claim, Claims, Fact, Figures
from tilecast.present.paper.render import typst_text
from tilecast.tables.crate import NAME as CRATE
from tilecast.tables.naming import significant

VERDICTS = "results/evaluation/claims.csv"
GROUPED = "its figures"  # in place of a title, for all claims of a study that one file decides
RECORD = "resources/published/citation.yaml"
HEAD = ("Document", "Claim", "Verdict", "File", "Tolerance", "Minutes", "Hardware")
STYLE = """\
#set document(title: "Artifact appendix", date: none)
#set page(paper: "a4", margin: (x: 1.5cm, y: 1.3cm), numbering: "1")
#set text(font: "Libertinus Serif", size: 8.5pt, number-width: "tabular")
#set par(spacing: 0.7em)
#show heading: set block(above: 1em, below: 0.5em)
#show table: set text(size: 6.4pt)
#set table(inset: (x: 2.5pt, y: 1.5pt), align: left, stroke: (x, y) => if y == 0 { (bottom: 0.5pt) })
"""
TRACKS = {
    2: "auto, 1fr",
    len(HEAD): "auto, 3fr, 1.7fr, auto, 0.9fr, auto, 1.3fr",
}  # widths by number of columns


def as_markdown(template: str, claims: Claims, verdicts: pd.DataFrame, minutes: pd.DataFrame) -> str:
    """The appendix as Markdown."""
    took = dict(zip(minutes["file"], minutes["minutes"], strict=True))
    rows = [HEAD, ("---",) * len(HEAD), *_rows(claims, verdicts, took)]
    lines = ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    crate = f"results/{CRATE}"
    return Template(template).substitute(
        version=__version__,
        released=__released__,
        whole=significant(took[crate], 2),
        crate=crate,
        verdicts=VERDICTS,
        rows="\n".join(lines),
    )


def _rows(claims: Claims, verdicts: pd.DataFrame, took: dict[str, float]) -> Iterable[Sequence[str]]:
    """A row for each claim about the artifact, one for each document and file of the studies."""
    by_id = {claim.id: claim for claim in claims.claims}
    alone = verdicts["whose"] != "study"
    told = verdicts.assign(
        file=[_file(by_id[name]) for name in verdicts["id"]],
        tolerance=[_tolerance(by_id[name]) for name in verdicts["id"]],
        shown=verdicts["title"].where(alone, GROUPED),
    )
    for (source, shown, file), group in told.groupby(["source", "shown", "file"], sort=False):
        counts = group["verdict"].value_counts(sort=False)
        yield (
            str(source),
            str(shown),
            ", ".join(
                f"{count} {verdict}" if shown == GROUPED else str(verdict) for verdict, count in counts.items()
            ),
            f"`{file}`",
            _several(group["tolerance"]),
            significant(took[file], 2) if file in took else "none",
            _several(group["hardware"].fillna("")) or "none named",
        )


def _several(values: Iterable[str]) -> str:
    """The different values, three of them at most."""
    found = sorted({value for value in values if value})
    return ", ".join(found[:3]) + ", …" * (len(found) > 3)


def _file(claim: Claim) -> str:
    """The file that decides a claim."""
    if isinstance(claim.query, Figures):
        return DATASETS[claim.query.dataset]
    return RECORD if isinstance(claim.query, Fact) else VERDICTS


def _tolerance(claim: Claim) -> str:
    return f"{claim.tolerance} {claim.unit or ''}".strip() if claim.tolerance else "exact"


def as_typst(markdown: str) -> str:
    """Headings, paragraphs, code and tables of Markdown as typst; every text a string and never markup."""
    return "\n\n".join([STYLE, *map(_block, re.split(r"\n\n+", markdown.strip()))]) + "\n"


def _block(text: str) -> str:
    if text.startswith("```"):
        return f"#raw({typst_text(text.partition(chr(10))[2].removesuffix('```').rstrip())}, block: true)"
    if text.startswith("#"):
        marks, _, words = text.partition(" ")
        return "=" * len(marks) + " " + _inline(words)
    if not text.startswith("|"):
        return _inline(text)
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]
    if len(rows[0]) != len(head):  # names and what they stand for, without a head
        head = []
    lines = [", ".join(f"[{_inline(cell)}]" for cell in row) for row in rows]
    first = f"table.header({', '.join(f'[{_inline(cell)}]' for cell in head)})" if head else "stroke: none"
    return f"#table(columns: ({TRACKS[len(rows[0])]}), {first},\n" + ",\n".join(lines) + ")"


def _inline(text: str) -> str:
    """A text with `code` in it; a path may break after a slash."""
    plain, code = (lambda part: f"#{typst_text(part)}"), (lambda part: f"#raw({typst_text(part)})")
    parts = text.replace("/", "/\u200b").split("`")
    return "".join((code if place % 2 else plain)(part) for place, part in enumerate(parts) if part)
