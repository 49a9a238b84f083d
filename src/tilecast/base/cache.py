"""What is kept from one command to the next: JSON in `$XDG_CACHE_HOME/tilecast` (or ~/.cache).

A file's name is the checksum of everything that decides what it holds; one that is damaged or foreign is no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

from tilecast.base.errors import TilecastError
from tilecast.base.files import atomic_path


def place(folder: str, *decides: bytes) -> Path:
    """Where what `decides` it lies, whether or not it does."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home keeps nothing
        root = os.devnull
    return Path(root, "tilecast", folder, hashlib.sha256(b"\0".join(decides)).hexdigest())


def read(path: Path) -> Any:
    """What a file holds; None if there is none that is whole and written by `write`."""
    try:
        checksum, body = path.read_bytes().split(b"\n", 1)
        return json.loads(zlib.decompress(body)) if checksum == _checksum(path, body) else None
    except (OSError, ValueError, zlib.error):
        return None


def write(path: Path, value: object) -> None:
    """Keep a value; a folder that cannot be written to keeps nothing."""
    body = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)
    with contextlib.suppress(OSError, TilecastError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(_checksum(path, body) + b"\n" + body)


def _checksum(path: Path, body: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + body).hexdigest().encode()
