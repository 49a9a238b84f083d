"""The project's own jinja2 environment: all is escaped, nothing undefined is blank, numbers are set alike."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tilecast.tables.schema import Column


def style(column: Column) -> str:
    """The stylesheet's class for a column's cells: numbers, and texts that read as numbers, to the right."""
    return "n" if column.digits is not None else "prose" if column.prose else "text"


def is_absent(value: Any) -> bool:
    """Whether a table cell holds nothing: None, NaN or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def number(value: float, digits: int) -> str:
    """`value` with thousands separated, a true minus sign and `digits` after the point."""
    return f"{value:,.{digits}f}".replace("-", "\u2212")


def content_hash(text: str) -> str:
    """The hash by which a content security policy allows one inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


OF_ARTIFACT = re.compile(r"scripts/asplos/[\w./-]*\w")


def environment(templates: Path, repository: str = "", commit: str = "") -> Environment:
    """The environment every page of this project is rendered with; paths of the artifact lead to the commit."""
    public = repository.removesuffix(".git")

    def sourced(text: str) -> str:
        words = escape(text)
        if not public.startswith("https://github.com/") or "scripts/asplos/" not in text:
            return words
        link = rf'<a href="{escape(public)}/blob/{escape(commit)}/\g<0>">\g<0></a>'
        return Markup(OF_ARTIFACT.sub(link, str(words)))

    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "style": style, "sourced": sourced}
    made.tests["absent"] = is_absent
    return made


def asset(path: Path, licence: Path | None = None) -> Markup:
    """A stylesheet or script that goes into the page as it is, after the licence it is under."""
    text = path.read_text(encoding="utf-8")
    if licence is not None:
        text = f"/*\n{licence.read_text(encoding='utf-8')}\n*/\n{text}"
    if "</s" in text.lower():  # would end the element it stands in
        raise ValueError(f"{path}: must not contain `</s`")
    return Markup(text)
