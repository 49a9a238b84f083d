"""The lock: path and git blob id of every data file of the pinned commit; each fetched file is checked by it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import PurePosixPath
from typing import NamedTuple

from tilecast.base.documents import read_text
from tilecast.base.errors import InputError

LARGEST_BYTES = 256 * 2**20  # for the files whose size the lock does not know


class Entry(NamedTuple):
    """One file of the commit; `size` in bytes where known."""

    path: str
    blob: str
    size: int | None


def read_lock(path: str | os.PathLike[str]) -> list[Entry]:
    """The lock's entries, sorted by path; tab-separated path, blob, bytes below one header line."""
    entries = []
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines[1:], start=2):
        name, blob, size = (line.split("\t") + ["", ""])[:3]
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not re.fullmatch("[0-9a-f]{40}", blob):
            raise InputError(f"{path}, line {number}", "is not `path<TAB>blob id<TAB>bytes`")
        entries.append(Entry(name, blob, int(size) if re.fullmatch("[0-9]{1,15}", size) else None))
    if not entries:
        raise InputError(path, "lists no file")
    return sorted(entries, key=lambda entry: (entry.path, entry.blob))


def blob_id(data: bytes) -> str:
    """The id git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def check_size(entry: Entry, size: int) -> None:
    """Raise InputError where a file is not as large as the lock says, or larger than any data file can be."""
    if entry.size is not None and size != entry.size:
        raise InputError(entry.path, f"has {size} bytes where the pinned commit has {entry.size}", REFETCH)
    if size > LARGEST_BYTES:
        raise InputError(entry.path, f"has {size} bytes, more than any file of the artifact")


def verify(entry: Entry, data: bytes) -> bytes:
    """`data` if it is the file the lock names, else InputError with both ids."""
    check_size(entry, len(data))
    found = blob_id(data)
    if found != entry.blob:
        raise InputError(entry.path, f"has git blob id {found} where the pinned commit has {entry.blob}", REFETCH)
    return data


REFETCH = "the source is damaged or at another commit: fetch it anew"
