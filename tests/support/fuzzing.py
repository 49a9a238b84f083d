"""Hostile versions of sound files, and a watch over what reading them does."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings

from tilecast.base.errors import TilecastError

# As many inputs a parser or command as TILECAST_FUZZ says; the same ones every time.
FUZZED = settings(
    max_examples=int(os.environ.get("TILECAST_FUZZ", "25")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 20  # longer is a hang, on however busy a machine
HUGE = "HUGEHUGEHUGE"  # becomes a figure of 5,000 digits, which Python refuses to print
TOKENS = [
    "", "x" * 10_000, "\0", "\ufeff", "\u202e", "é" * 50, "../../../etc/passwd", "/etc/passwd",
    "<script>alert(1)</script>", "\\input{/etc/passwd}", "=cmd|' /C calc'!A0", "${HOME}", "$(touch hacked)",
    "`touch hacked`", "%s%n", "{0.__class__}", "2024-13-45", "0x10", "1e999", "-0", "nan", "inf", "1_000", "True",
    "null", "~", "-1", "1e400", "\x1b[2J", "a\rb\nc", "\ud800", "CON", "a/../../../b",
    "!!python/name:os.system", "!!python/object/apply:os.system [touch hacked]", "&a [*a]",
    "__import__('os').system('touch hacked')", HUGE,
]  # fmt: skip
BARE = ("!!python/name:os.system", "!!python/object/apply:os.system [touch hacked]", "&a [*a]", "1e999", "1e400")
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 10**30, 2**63,
    2**70, 10**400, -(2**70), [], {},
    [[]], [{}], {"": None}, {"a": {"b": 1}}, [None], ["x", 1],
]  # fmt: skip
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            yield from _places(value, (*path, key))


def edited(document: Any, draw: random.Random) -> Any:
    """The document with a value replaced, removed, renamed or doubled; now and then two or three."""
    document = deepcopy(document)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        path = draw.choice(list(_places(document)))
        new = draw.choice([*VALUES, *TOKENS, _deep(30), _deep(200)])
        if not path:
            if draw.random() < 0.1:
                document = new
            continue
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        match draw.randint(0, 4):
            case 0 if isinstance(parent, dict):
                del parent[path[-1]]
            case 1 if isinstance(parent, dict):
                parent[draw.choice([*TOKENS, 1, None, True, 1.5])] = parent.pop(path[-1])
            case 2 if isinstance(parent, list):
                parent.append(deepcopy(parent[path[-1]]))
            case _:
                parent[path[-1]] = deepcopy(new)
    return document


def scrambled(data: bytes, draw: random.Random) -> bytes:
    """The bytes cut short, doubled, overwritten or with something put in."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(out), draw.choice([64, 4096, 1 << 30])) + 1) if out else 0
        match draw.randint(0, 4):
            case 0:
                del out[at:]
            case 1:
                out[at : at + draw.randint(1, 8)] = draw.randbytes(draw.randint(1, 8))
            case 2:
                out[at:at] = draw.choice(TOKENS).encode(errors="surrogatepass")
            case 3:
                out[at:at] = out[at : at + 200]
            case _:
                out[at : at + 8] = draw.choice([b"\xff" * 8, b"\0" * 8])
    return bytes(out)


def _as_yaml(document: Any) -> str:
    try:
        return str(yaml.dump(document, Dumper=DUMPER, allow_unicode=True))
    except UnicodeEncodeError:  # half a character, which only the slow one can write
        return str(yaml.dump(document, Dumper=yaml.SafeDumper))


def hostile(data: bytes, kind: str, draw: random.Random) -> bytes:
    """A hostile version of a sound file: of its structure four times in five, else of its bytes."""
    if kind == "bytes" or draw.random() < 0.2:
        return scrambled(data, draw)
    if kind == "csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        rows = [rows[0], *draw.sample(rows[1:], min(len(rows) - 1, 20))]
        table: list[list[str]] = edited(rows, draw)
        text = io.StringIO()
        with contextlib.suppress(csv.Error, TypeError):
            csv.writer(text).writerows(table)
        return text.getvalue().replace(HUGE, "1" + "0" * 5000).encode(errors="surrogatepass")
    document = edited(yaml.load(data, Loader=LOADER) if kind == "yaml" else json.loads(data), draw)
    text_of = _as_yaml(document) if kind == "yaml" else json.dumps(document)
    for token in BARE:
        text_of = text_of.replace(f"'{token}'", token)  # as a tag or a number, not as text
        text_of = text_of.replace(f'"{token}"', token) if token in ("1e999", "1e400") else text_of
    quoted = {"yaml": f"{HUGE}", "json": f'"{HUGE}"'}[kind]
    return text_of.replace(quoted, "1" + "0" * 5000).encode(errors="surrogatepass")


STARTS = {"os.system", "subprocess.Popen", "socket.connect", "pickle.find_class", "os.exec", "os.posix_spawn"}
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"}


@dataclass
class Watch:
    """What the interpreter did while it was watched that reading a file must not do."""

    active: bool = False
    root: str = ""  # the only folder that may be written to
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, words: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in STARTS:
            self.seen.append(f"{event} {words!r}"[:200])
        writing = (
            event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writing or event in CHANGES:
            named = words[1] if event in ("os.symlink", "os.link") else words[0]
            place = Path(os.path.abspath(str(named)))  # noqa: PTH100 (as text: the link itself counts)
            # A name below a folder that is open was allowed when the folder was opened.
            below = event in CHANGES and not Path(str(named)).is_absolute() and words[-1] != -1
            allowed = place.is_relative_to(self.root) or str(place) == "/dev/null"
            if not below and not allowed and "__pycache__" not in place.parts:
                self.seen.append(f"{event} {place}"[:200])


WATCH = Watch()
sys.addaudithook(WATCH)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Within: a hang, a program started, a connection, or a write outside `folder` is an error.

    Temporary folders are made inside it, so that what climbs out of one of them is seen as well.
    """

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    elsewhere, tempfile.tempdir = tempfile.tempdir, str(folder)
    WATCH.seen.clear()
    WATCH.root = str(folder)
    WATCH.active = True
    try:
        yield
    finally:
        WATCH.active = False
        tempfile.tempdir = elsewhere
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert WATCH.seen == []


def outcome(parse: Callable[[Path], object], path: Path) -> str:
    """`read` or `refused`; anything but a result or one short line of error is raised."""
    try:
        with watched(path.parent):
            parse(path)
    except TilecastError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 5000, str(error)[:300]
        assert str(error).isprintable()
        return "refused"
    return "read"
