"""The report a reviewer reads: a few pages in one folder; a new section is one more line in PAGES."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from markupsafe import Markup

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
    """A part of a page: `sections/<slug>.html` filled by `context`, or a word on which of `needs` lacks.

    One that is `optional` is left out instead.
    """

    slug: str
    title: str
    needs: tuple[str, ...]
    context: Callable[[Results], Context]
    optional: bool = False


AUDITED = ("evaluation/claims.csv",)
# The file of each page, its title, and its sections.
PAGES: dict[str, tuple[str, tuple[Section, ...]]] = {
    "index": (
        "Evaluation",
        (
            Section("summary", "Summary", (), summary.context),
            Section("claims", "Claims", AUDITED, claims.context),
            Section("summaries", "Summary tables", ("evaluation/summary_comparison.csv",), paper_tables.summaries),
            Section("accuracy", "Accuracy", ("evaluation/mape.csv",), summary.accuracy),
            Section("defects", "Defects", ("tidy/defects.csv",), provenance.counts),
        ),
    ),
    "forecasts": (
        "Forecasts",
        (
            Section("predictors", "Predictors", ("predict/logo.csv",), predictors.context),
            Section("parallel", "Multi-GPU", parallel.NEEDS, parallel.context),
            Section("modern", "Modern GPUs", modern.NEEDS, modern.context),
        ),
    ),
    "studies": (
        "Studies",
        (
            Section("study-claims", "Claims of the studies", AUDITED, claims.studies),
            Section("moe", "Experts", moe.NEEDS, moe.context),
            Section("numa", "Locality", numa.NEEDS, numa.context),
        ),
    ),
    "machine": (
        "Machine",
        (
            Section(
                "machine", "This machine", ("measure/machines.json", "measure/summary.csv"), machine.context, True
            ),
            Section("scenarios", "Scenarios", ("measure/scenarios.csv",), machine.scenarios),
        ),
    ),
    "errors": (
        "Errors",
        (
            Section("errors", "Errors", ("evaluation/mape.csv",), errors.context),
            Section("tables", "Paper tables", (), paper_tables.context),
        ),
    ),
    "appendix": (
        "Appendix",
        (
            Section("figures", "Figures", (), figures.context),
            Section("graphs", "Operator graphs", ("graphs/differences.csv",), provenance.graphs),
            Section("defect-list", "All defects", ("tidy/defects.csv",), provenance.defects),
            Section("provenance", "Provenance", ("artifact/source.json",), provenance.context),
            Section("glossary", "Glossary", (), lambda results: {}),
        ),
    ),
}
SECTIONS = tuple(section for _, sections in PAGES.values() for section in sections)
ONE_FILE = "tilecast-report"  # the page that holds all the others, to send


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


def render_pages(results: Results, assets: Path, whole: bool = False) -> dict[str, str]:
    """Every page as HTML by its file's name, or one of them all; `assets` holds templates, style and script."""
    source = results.json("artifact/source.json") or {}
    engine = environment(assets / "templates", f"{source.get('repository')}", f"{source.get('commit')}")
    parts: dict[str, list[dict[str, str]]] = {}
    for name, (_, sections) in PAGES.items():
        for section in sections:
            lacking = results.missing(section.needs)
            if lacking and section.optional:
                continue
            template = engine.get_template("missing.html" if lacking else f"sections/{section.slug}.html")
            data = {"lacking": lacking} if lacking else filled(section, results)
            html = _headed(template.render(data=data), section.slug)
            parts.setdefault(name, []).append({"slug": section.slug, "title": section.title, "html": html})
    entries = [
        {"to": f"{'' if whole else name + '.html'}#{anchor}", "words": words, "in": PAGES[name][0]}
        for name, made in parts.items()
        for part in made
        for anchor, words in _found(part)
    ]
    frame, style, script = engine.get_template("page.html"), asset(assets / "page.css"), asset(assets / "page.js")
    vendor = assets / "vendor"
    charts = [asset(vendor / "uPlot.iife.min.js", vendor / "uPlot.LICENSE"), asset(assets / "points.js")]
    chart_style = asset(vendor / "uPlot.min.css")

    def framed(sections: list[dict[str, str]], **more: Any) -> str:
        drawn = any(" data-points" in part["html"] for part in sections)
        scripts = [script, *(charts if drawn else [])]
        return frame.render(
            style=style + chart_style if drawn else style,
            scripts=scripts,
            hashes=[content_hash(one) for one in scripts],
            entries=entries,
            sections=sections,
            **more,
        )

    menu = [(name, title) for name, (title, _) in PAGES.items() if name in parts]
    if whole:
        everything = [part for made in parts.values() for part in made]
        page = framed(everything, name="index", title="Evaluation", menu=[])
        return {ONE_FILE: re.sub(r'href="\w+\.html#', 'href="#', page)}
    return {name: framed(made, name=name, title=PAGES[name][0], menu=menu) for name, made in parts.items()}


def _headed(html: str, slug: str) -> Markup:
    """The section with an address for every heading of its parts, and a link to it."""
    used: set[str] = set()

    def addressed(found: re.Match[str]) -> str:
        given, words = found[1], found[2]
        name = given or f"{slug}-" + re.sub(r"\W+", "-", unescape(re.sub("<.*?>", "", words)).lower()).strip("-")
        while name in used:
            name += "-more"
        used.add(name)
        link = f'<a class="permalink" href="#{name}" aria-label="Link to this part">#</a>'
        return f'<h3 id="{name}">{words} {link}</h3>'

    return Markup(re.sub(r'<h3(?: id="([^"]+)")?>(.*?)</h3>', addressed, html))


FOUND = re.compile(
    r'<h3 id="(?P<part>[^"]+)">(?P<words>.*?) <a class="permalink"'
    r'|<figure id="(?P<figure>[^"]+)" aria-label="(?P<said>[^"]+)"'
    r'|<table id="(?P<table>[^"]+)" data-sortable>\s*<caption[^>]*>(?P<caption>.*?)</caption>'
    r'|<tbody id="(?P<claim>claim-[^"]+)"[^>]* data-find="(?P<says>[^"]*)"'
    r'|<dt id="(?P<term>term-[^"]+)">(?P<meant>.*?)</dt>',
    re.S,
)


def _found(part: dict[str, str]) -> list[tuple[str, str]]:
    """What the search finds in a section: its parts, figures, tables, claims and terms, by their addresses."""
    found = [(part["slug"], part["title"])]
    for match in FOUND.finditer(part["html"]):
        anchor, words = (text for text in match.groups() if text is not None)
        found.append((anchor, unescape(re.sub("<.*?>", "", words))))
    return found
