"""Hostile versions of sound files, and a watch over what reading them does."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import random
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import yaml
from hypothesis import HealthCheck, settings
from pyarrow import parquet

from tilecast.base.errors import TilecastError

# As many inputs a command as TILECAST_FUZZ says, other ones every time; one that fails is printed with its number.
FUZZED = settings(
    max_examples=int(os.environ.get("TILECAST_FUZZ", "10")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 20  # of processor time: longer is a hang, on however busy a machine
WAITING = 5  # times as long without an answer is one too
HUGE = "HUGEHUGEHUGE"  # becomes a figure of 5,000 digits, which Python refuses to print
TWICE = "TWICETWICE"  # is taken out of the text: a key that ends so occurs twice
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


def _retyped(value: Any, draw: random.Random) -> Any:
    """The same value as another type."""
    match value:
        case dict():
            return draw.choice([list(value.values()), list(value), [value]])
        case list():
            return draw.choice(
                [{str(number): part for number, part in enumerate(value)}, value[:1] and value[0], [value]]
            )
        case str():
            return draw.choice([list(value[:50]), {value: value}, [value], len(value), value.encode().hex()])
        case bool() | None:
            return draw.choice([str(value), int(bool(value)), [value]])
    return draw.choice([str(value), [value], {"value": value}, bool(value), float(value) + 0.5, -value])


def _scaled(value: Any, draw: random.Random) -> Any:
    """A number times a power of ten; what is no number is retyped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _retyped(value, draw)
    power = draw.randint(1, 40)
    if isinstance(value, int) and draw.random() < 0.7:
        return value * 10**power if draw.random() < 0.7 else value // 10**power
    return value * 10.0 ** draw.choice([power, -power])


def edited(document: Any, draw: random.Random, others: Sequence[Any] = ()) -> Any:
    """The document with one change of its structure; now and then two or three.

    A value is replaced, removed, renamed, doubled, retyped, scaled, exchanged with another one, or its key comes
    twice; or a part of one of the other documents is put in its place.
    """
    document = deepcopy(document)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(document))
        path = draw.choice(places)
        if not path:
            if draw.random() < 0.1:
                document = draw.choice([*VALUES, *TOKENS, _deep(30), _deep(200)])
                break
            continue
        parent, key = _at(document, path[:-1]), path[-1]
        match draw.randint(0, 9):
            case 0 if isinstance(parent, dict):
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[draw.choice([*TOKENS, 1, None, True, 1.5])] = parent.pop(key)
            case 2 if isinstance(parent, list):
                parent.append(deepcopy(parent[key]))
            case 3 if isinstance(parent, dict):
                parent[f"{key}{TWICE}"] = deepcopy(parent[key])
            case 4:
                other = draw.choice(places)
                if other and other[: len(path)] != path and path[: len(other)] != other:
                    place = _at(document, other[:-1])
                    parent[key], place[other[-1]] = place[other[-1]], parent[key]
            case 5 if others:
                graft = draw.choice(others)
                parent[key] = deepcopy(_at(graft, draw.choice(list(_places(graft)))))
            case 6:
                parent[key] = _retyped(parent[key], draw)
            case 7:
                parent[key] = _scaled(parent[key], draw)
            case _:
                parent[key] = deepcopy(draw.choice([*VALUES, *TOKENS, _deep(30), _deep(200)]))
    return document


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
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


@functools.cache
def parsed(data: bytes, kind: str) -> Any:
    """A sound file as lists and dictionaries of plain values."""
    match kind:
        case "yaml":
            return yaml.load(data, Loader=LOADER)
        case "json":
            return json.loads(data)
        case "csv" | "tsv":
            return list(csv.reader(io.StringIO(data.decode()), delimiter="," if kind == "csv" else "\t"))
        case "safetensors":
            size = int.from_bytes(data[:8], "little")
            return json.loads(data[8 : 8 + size])
        case "parquet":
            return parquet.read_table(io.BytesIO(data)).slice(0, 20).to_pydict()
        case "zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return {name: archive.read(name).decode() for name in archive.namelist()}
    raise ValueError(kind)


def _packed(document: Any, kind: str, data: bytes) -> bytes:
    """A document as a file of its kind; what that cannot hold is left out, or is an error."""
    match kind:
        case "csv" | "tsv":
            text = io.StringIO()
            with contextlib.suppress(csv.Error, TypeError):
                csv.writer(text, delimiter="," if kind == "csv" else "\t").writerows(document)
            return text.getvalue().replace(HUGE, "1" + "0" * 5000).encode(errors="surrogatepass")
        case "safetensors":
            header = json.dumps(document).replace(TWICE, "").encode()
            size = int.from_bytes(data[:8], "little")
            return len(header).to_bytes(8, "little") + header + data[8 + size :]
        case "parquet":
            buffer = io.BytesIO()
            parquet.write_table(pyarrow.table(document), buffer)
            return buffer.getvalue()
        case "zip":
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in document.items():
                    archive.writestr(
                        str(name).replace(TWICE, ""), text if isinstance(text, str) else json.dumps(text)
                    )
            return buffer.getvalue()
    words = _as_yaml(document) if kind == "yaml" else json.dumps(document)
    for token in BARE:
        words = words.replace(f"'{token}'", token)  # as a tag or a number, not as text
        words = words.replace(f'"{token}"', token) if token in ("1e999", "1e400") else words
    quoted = {"yaml": f"{HUGE}", "json": f'"{HUGE}"'}[kind]
    return words.replace(TWICE, "").replace(quoted, "1" + "0" * 5000).encode(errors="surrogatepass")


def hostile(data: bytes, kind: str, draw: random.Random, others: Sequence[Any] = ()) -> bytes:
    """A hostile version of a sound file: of its structure four times in five, else of its bytes."""
    if kind == "bytes" or draw.random() < 0.2:
        return scrambled(data, draw)
    document = parsed(data, kind)
    if kind in ("csv", "tsv"):
        document = [document[0], *draw.sample(document[1:], min(len(document) - 1, 20))]
    try:
        return _packed(edited(document, draw, others), kind, data)
    except (
        pyarrow.ArrowException,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        return scrambled(data, draw)  # this kind of file cannot hold it


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
        # A file by its number is open: it was allowed, or not, when it was opened by its name.
        named = event == "open" and not isinstance(words[0], int) and isinstance(words[2], int)
        writing = named and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writing or event in CHANGES:
            name = words[1] if event in ("os.symlink", "os.link") else words[0]
            place = Path(os.path.abspath(str(name)))  # noqa: PTH100 (as text: the link itself counts)
            # A name below a folder that is open was allowed when the folder was opened.
            below = event in CHANGES and not Path(str(name)).is_absolute() and words[-1] != -1
            allowed = place.is_relative_to(self.root) or str(place) == "/dev/null"
            if not below and not allowed and "__pycache__" not in place.parts:
                self.seen.append(f"{event} {place}"[:200])


WATCH = Watch()
sys.addaudithook(WATCH)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Within: a hang, a program started, a connection, or a write outside `folder` is an error.

    Temporary folders and the user's cache are inside it, so that what climbs out of one of them is seen as well.
    """

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s")

    before = {sign: signal.signal(sign, late) for sign in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING * SECONDS)
    elsewhere, tempfile.tempdir = tempfile.tempdir, str(folder)
    cache = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    WATCH.seen.clear()
    WATCH.root = str(folder)
    WATCH.active = True
    try:
        yield
    finally:
        WATCH.active = False
        tempfile.tempdir = elsewhere
        os.environ.pop("XDG_CACHE_HOME")
        if cache is not None:
            os.environ["XDG_CACHE_HOME"] = cache
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert WATCH.seen == [], WATCH.seen


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
