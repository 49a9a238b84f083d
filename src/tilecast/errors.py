"""Errors a user can act on: one line that names the place, what was expected and what to do."""

from __future__ import annotations


class TilecastError(Exception):
    """Bad input or an impossible request; shown as one line, never as a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputError(TilecastError):
    """A file, key or row that is not what it should be: `where: what is wrong; what to do`."""

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))
