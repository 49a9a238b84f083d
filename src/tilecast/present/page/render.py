"""The project's own jinja2 environment: all is escaped, nothing undefined is blank, numbers are set alike."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Column:
    """A column of a shown table: numbers have `digits` decimals, `prose` may wrap, None shows as `absent`."""

    key: str
    title: str
    unit: str = ""
    digits: int | None = None
    absent: str = "not recorded"
    prose: bool = False
    right: bool = False  # a text that reads as a number, such as an interval

    @property
    def style(self) -> str:
        """Its cells' class in the stylesheet."""
        return "n" if self.right or self.digits is not None else "prose" if self.prose else "text"


def is_absent(value: Any) -> bool:
    """Whether a table cell holds nothing: None, NaN or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def number(value: float, digits: int) -> str:
    """`value` with thousands separated, a true minus sign and `digits` after the point."""
    return f"{value:,.{digits}f}".replace("-", "\u2212")


def content_hash(text: str) -> str:
    """The hash by which a content security policy allows one inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def environment(templates: Path) -> Environment:
    """The environment every page of this project is rendered with."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["number"] = number
    made.tests["absent"] = is_absent
    return made


def asset(path: Path) -> Markup:
    """A stylesheet or script of this project, which goes into the page as it is."""
    text = path.read_text(encoding="utf-8")
    if "</s" in text.lower():  # would end the element it stands in
        raise ValueError(f"{path}: must not contain `</s`")
    return Markup(text)
