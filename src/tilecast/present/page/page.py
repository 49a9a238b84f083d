"""One self-contained page from the workflow's tables and figures; a new section is one more line in SECTIONS."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError
from tilecast.present.page.render import asset, content_hash, environment
from tilecast.present.page.results import Results
from tilecast.present.page.sections import (
    claims,
    errors,
    figures,
    machine,
    modern,
    moe,
    numa,
    paper_tables,
    parallel,
    predictors,
    provenance,
    summary,
)

Context = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the page: `sections/<slug>.html` filled by `context`, or a word on which of `needs` lacks.

    One that is `optional` is left out instead.
    """

    slug: str
    title: str
    needs: tuple[str, ...]
    context: Callable[[Results], Context]
    optional: bool = False


SECTIONS: tuple[Section, ...] = (
    Section("claims", "Claims", ("evaluation/claims.csv",), claims.context),
    Section("tables", "Paper tables", (), paper_tables.context),
    Section("figures", "Figures", (), figures.context),
    Section("errors", "Errors", ("evaluation/mape.csv",), errors.context),
    Section("predictors", "Predictors", ("predict/logo.csv",), predictors.context),
    Section("graphs", "Operator graphs", ("graphs/differences.csv",), provenance.graphs),
    Section("parallel", "Multi-GPU", parallel.NEEDS, parallel.context),
    Section("modern", "Modern GPUs", modern.NEEDS, modern.context),
    Section("moe", "Experts", moe.NEEDS, moe.context),
    Section("numa", "Locality", numa.NEEDS, numa.context),
    Section("machine", "This machine", ("measure/machines.json", "measure/summary.csv"), machine.context, True),
    Section("scenarios", "Scenarios", ("measure/scenarios.csv",), machine.scenarios),
    Section("defects", "Artifact defects", ("tidy/defects.csv",), provenance.defects),
    Section("provenance", "Provenance", ("artifact/source.json",), provenance.context),
)


def filled(section: Section, results: Results) -> Context:
    """What a section shows; tables that are sound one by one and do not fit each other are one line."""
    try:
        return section.context(results)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        where = f"{type(error).__name__} {error}, {Path(last.filename).name}:{last.lineno}"
        problem = f"what its tables hold does not fit together ({where})"
        raise InputError(
            f"section {section.title}", problem, "`tilecast check results` names changed files"
        ) from error


def render_page(results: Results, assets: Path) -> str:
    """The whole page as HTML; `assets` holds `templates/`, `page.css` and `page.js`."""
    engine = environment(assets / "templates")
    parts = []
    for section in SECTIONS:
        lacking = results.missing(section.needs)
        if lacking and section.optional:
            continue
        template = "missing.html" if lacking else f"sections/{section.slug}.html"
        data = {"lacking": lacking} if lacking else filled(section, results)
        parts.append({"slug": section.slug, "title": section.title, "template": template, "data": data})
    style, script = asset(assets / "page.css"), asset(assets / "page.js")
    return engine.get_template("page.html").render(
        style=style,
        script=script,
        script_hash=content_hash(script),
        summary=filled(Section("summary", "Summary", (), summary.context), results),
        sections=parts,
    )
