"""Run the commands of a page of the documentation, and hold what they print against what the page says.

A ```bash block is run, all of a page in one shell that ends at the first failure. A ```text block after it is what
it prints: each of its lines stands in the output, in this order; … stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "--- end of block ---"


@dataclass
class Step:
    """A block of commands, and the lines it has to print."""

    commands: str
    expected: list[str]


def steps(page: str) -> list[Step]:
    """The blocks of a page."""
    found: list[Step] = []
    for kind, text in BLOCK.findall(page):
        if kind == "bash":
            found.append(Step(text, []))
        else:
            found[-1].expected += text.splitlines()
    return found


def run(page: str, folder: Path, environment: Mapping[str, str] = os.environ) -> list[str]:
    """What a page says and its commands, run in a folder, do not do: nothing, where it tells the truth."""
    todo = steps(page)
    script = "set -eo pipefail\n" + "".join(f"{step.commands}\necho '{END}'\n" for step in todo)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = done.stdout.split(END + "\n")
    if done.returncode:
        return [f"exit code {done.returncode} from:\n{todo[len(printed) - 1].commands}\n{printed[-1][-3000:]}"]
    return [problem for step, output in zip(todo, printed, strict=False) for problem in missing(step, output)]


def missing(step: Step, output: str) -> list[str]:
    """The first of the expected lines that is not in the output after those before it."""
    place, lines = 0, output.splitlines()
    for line in step.expected:
        wanted = re.compile(r"\s*" + r".*".join(re.escape(part.strip()) for part in line.split("…")) + r"\s*")
        place = next((at for at in range(place, len(lines)) if wanted.fullmatch(lines[at])), -1) + 1
        if not place:
            return [f"{line!r} is not printed by:\n{step.commands}\n{output[-3000:]}"]
    return []
