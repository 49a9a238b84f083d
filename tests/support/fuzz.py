"""Hostile files for every parser of outside data, `python tests/support/fuzz.py [--seconds N]`.

Seeds are random. Each input is named `parser:number`, which makes the same bytes again as long as the sound files
are the same: `python tests/support/fuzz.py --replay 'device:123'` writes it, reads it, and shows what happens.

A batch of inputs runs in a forked process: no answer within 20 s of processor time, 2 GB of memory more than at
its start, a program started, a connection, a file written elsewhere, or anything but a result and one line of
error is a finding. It is kept in build/fuzz; one that was mended belongs into tests/corpus, which the unit tests
read.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forks import forked
from fuzzing import SECONDS, WAITING, hostile, outcome, parsed
from parsers import PARSERS, ROOT

MEMORY = 2 << 30
BATCH = 2.0  # seconds
STRUCTURED = ("yaml", "json", "csv")
LARGEST_GRAFT = 200_000  # bytes of a file that parts are taken from


class Sound(NamedTuple):
    """The sound files of every parser, and what parts can be grafted from."""

    files: dict[str, list[bytes]]
    grafts: list[Any]


class Finding(NamedTuple):
    """An input that was neither read nor refused."""

    name: str
    what: str


def sound_files() -> Sound:
    """What every hostile file is made of."""
    held = {name: seeds for name, (_, _, sound, _) in PARSERS.items() if (seeds := sound())}
    grafts = {
        seed: PARSERS[name][0]
        for name, seeds in held.items()
        for seed in seeds
        if PARSERS[name][0] in STRUCTURED and len(seed) < LARGEST_GRAFT
    }
    return Sound(held, [parsed(data, kind) for data, kind in grafts.items()])


def made(name: str, sound: Sound) -> bytes:
    """The input of a name, the same every time."""
    parser = name.rpartition(":")[0]
    draw = random.Random(name)
    return hostile(draw.choice(sound.files[parser]), PARSERS[parser][0], draw, sound.grafts)


def tried(name: str, sound: Sound, folder: Path) -> str:
    """`read` or `refused`, or what else came of an input, as the words of a traceback."""
    return result(name.rpartition(":")[0], made(name, sound), folder)


def result(parser: str, data: bytes, folder: Path) -> str:
    """The same of a file's content."""
    _, ending, _, parse = PARSERS[parser]
    path = folder / f"hostile{ending}"
    path.write_bytes(data)
    try:
        return outcome(parse, path)
    except BaseException:
        return traceback.format_exc()


def _batch(parser: str, numbers: Sequence[int], sound: Sound, folder: Path, pipe: int, seconds: float) -> None:
    """In a forked process: inputs until the time is over; each is told as it begins and ends."""
    start = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (start + MEMORY, start + MEMORY))
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    end = time.monotonic() + seconds
    for number in numbers:
        name = f"{parser}:{number}"
        os.write(pipe, json.dumps(name).encode() + b"\n")
        os.write(pipe, json.dumps(tried(name, sound, folder)).encode() + b"\n")
        if time.monotonic() > end:
            return


def batch(parser: str, numbers: Sequence[int], sound: Sound, seconds: float) -> tuple[Counter[str], list[Finding]]:
    """Try inputs in a process of their own: how many were read and refused, and what was found."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def work(pipe: int) -> int:
        _batch(parser, numbers, sound, folder, pipe, seconds)
        return 0

    late = (WAITING + 1) * SECONDS  # its own alarm should have come first
    words, code, hung = forked(work, late, of_silence=True)
    shutil.rmtree(folder)
    told = [json.loads(line) for line in words.split("\n")[:-1]]
    ended = list(zip(told[::2], told[1::2]))
    count = Counter(result for _, result in ended if result in ("read", "refused"))
    found = [Finding(name, result) for name, result in ended if result not in ("read", "refused")]
    if len(told) % 2:
        found.append(
            Finding(told[-1], "no answer, not even to an alarm" if hung else f"the process ended ({code})")
        )
    return count, found


def fuzz(seconds: float, seed: int, sound: Sound, folder: Path) -> tuple[dict[str, Counter[str]], list[Finding]]:
    """Give every parser its turn until the time is over; what is found is told at once, and kept in `folder`."""
    draw = random.Random(seed)
    share = min(BATCH, seconds / len(sound.files))
    tries: dict[str, Counter[str]] = defaultdict(Counter)
    findings: list[Finding] = []
    end = time.monotonic() + seconds
    while True:
        for parser in draw.sample(sorted(sound.files), len(sound.files)):
            if time.monotonic() > end:
                return tries, findings
            numbers = [draw.getrandbits(48) for _ in range(1000)]
            count, found = batch(parser, numbers, sound, share)
            tries[parser] += count
            findings += found
            for finding in found:
                last = finding.what.splitlines()[-1]
                print(f"{finding.name!r}: {last}; kept as {kept(finding, sound, folder)}", flush=True)


def slug(parser: str) -> str:
    """A parser's name as a folder's."""
    return parser.replace(",", "").replace(" ", "-")


def kept(finding: Finding, sound: Sound, folder: Path) -> Path:
    """Write the file of a finding, and what came of it beside."""
    parser, _, number = finding.name.rpartition(":")
    path = folder / slug(parser) / f"{number}{PARSERS[parser][1]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made(finding.name, sound))
    path.with_name(f"{path.name}.txt").write_text(f"{finding.name}\n{finding.what}\n")
    return path


def main() -> int:
    """Print a line a finding, then a table; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=secrets.randbits(48), help="of the inputs' numbers")
    parser.add_argument("--replay", help="an input, as a finding names it")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/fuzz", help="for what is found")
    options = parser.parse_args()
    sound = sound_files()
    if options.replay:
        with tempfile.TemporaryDirectory() as folder:
            what = tried(options.replay, sound, Path(folder))
        print(kept(Finding(options.replay, what), sound, options.folder), what, sep="\n")
        return int(what not in ("read", "refused"))
    print(f"seed {options.seed}", flush=True)
    tries, findings = fuzz(options.seconds, options.seed, sound, options.folder)
    print("\n| parser | inputs | read | refused in one line |\n|---|---|---|---|")
    for name, count in sorted(tries.items()):
        print(f"| {name} | {count.total()} | {count['read']} | {count['refused']} |")
    total = sum(count.total() for count in tries.values())
    print(f"\n{total + len(findings)} inputs, {len(findings)} findings; seed {options.seed}")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
