"""Errors that are shown to the user in one line: the place, what is wrong, what was expected or what to do."""

from __future__ import annotations

LONGEST = 2_000  # characters of a message: what it quotes may be a whole file on one line


class TilecastError(Exception):
    """Bad input or an impossible request; shown as one line, never as a traceback."""

    def __init__(self, message: str) -> None:
        words = "".join(map(_shown, " ".join(message.split())))
        super().__init__(words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} … {words[-LONGEST // 2 :]}")


def _shown(character: str) -> str:
    """Itself if it prints; else its escape, so that what a file holds cannot steer a terminal."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class InputError(TilecastError):
    """A file, key or row that is not what it should be: `where: what is wrong; what to do`."""

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))


class Uncut(InputError):
    """A model that cannot be cut over GPUs: one GPU alone can run it, kernel by kernel as it is traced."""


class Unfused(InputError):
    """A model without attention in one kernel."""
