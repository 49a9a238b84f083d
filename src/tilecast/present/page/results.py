"""The files a page may read: exactly its rule's inputs, named by their path within the results folder."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from tilecast.base.errors import InputError
from tilecast.evaluate.claims import Document, load_claims
from tilecast.tables.io import empty, read
from tilecast.tables.schema import Table

if TYPE_CHECKING:
    import pandas as pd


MEDIA = {".csv": "text/csv", ".png": "image/png"}
_ENCODED = {byte: quote(bytes([byte]), safe=' "!$()*+,-./:;=?@[]_{}|~') for byte in range(256)}
EMBED_BYTES = 12_000  # data up to this size go into the page


def data_uri(path: Path) -> str:
    """The file as a `data:` address for an attribute in single quotes: a drawing as text, the rest as base64."""
    if path.suffix == ".svg":  # a quarter smaller than base64; what HTML or an address gives a meaning is encoded
        drawing = " ".join(path.read_text(encoding="utf-8").split("\n"))
        return Markup("data:image/svg+xml," + drawing.encode().decode("latin-1").translate(_ENCODED))
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


class Results:
    """Files below `root` that the page may read; others are never looked for on the disk."""

    def __init__(self, root: Path, files: Iterable[str | Path], claims: Path | None = None) -> None:
        self.claims = claims  # the file of claims that was audited
        self._paths: dict[str, Path] = {}
        self._tables: dict[str, pd.DataFrame] = {}
        for file in files:
            path = Path(file)
            inside = path.is_relative_to(root)
            self._paths[(path.relative_to(root) if inside else path).as_posix()] = path

    def path(self, name: str) -> Path | None:
        """The declared file, or None."""
        return self._paths.get(name)

    def names(self, folder: str, suffix: str) -> list[str]:
        """Stems of the declared files `folder/<stem><suffix>`, in the order they were declared."""
        found = (Path(name) for name in self._paths)
        return [
            path.name.removesuffix(suffix)
            for path in found
            if str(path.parent) == folder and path.name.endswith(suffix)
        ]

    def links(self, files: str | Mapping[str, str]) -> list[dict[str, str]]:
        """Links to the declared ones of the files, by their words: small data inside the page, else beside it."""
        found = []
        for words, name in ({"Data": files} if isinstance(files, str) else files).items():
            path = self.path(name)
            if path is None:
                continue
            data = path.suffix == ".csv"
            inside = data and path.stat().st_size <= EMBED_BYTES
            found.append(
                {
                    "text": f"{words} (CSV)" if data else words,
                    "href": data_uri(path) if inside else f"../{name}",
                    "download": path.name if inside else "",
                }
            )
        return found

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that were not declared."""
        return [name for name in names if name not in self._paths]

    def table(self, name: str, declared: Table) -> pd.DataFrame:
        """A file of the run as the table it is declared to be; without rows where the file was not named."""
        path = self.path(name)
        if name not in self._tables:
            self._tables[name] = empty(declared) if path is None else read(path, declared)
        return self._tables[name]

    @cached_property
    def documents(self) -> dict[str, Document]:
        """The documents that make the audited claims, by name."""
        return {} if self.claims is None else load_claims(self.claims).documents

    def json(self, name: str) -> dict[str, Any] | None:
        """A declared JSON object; None where it was not declared."""
        path = self.path(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(path, f"is not JSON ({error})", "delete it and run the workflow again") from None
        if not isinstance(content, dict):
            raise InputError(path, "holds no JSON object", "delete it and run the workflow again")
        return content
