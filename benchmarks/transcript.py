"""Pages of commands with their answers: the first ten a newcomer types, and the scenarios I1.1 to T2.1.

    python benchmarks/transcript.py [first|scenarios]

writes docs/use/first-commands.md and docs/evidence/scenarios.md. Each command runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
LINES = 14  # of an answer that are shown

FIRST = (
    "tilecast --help",
    "tilecast list devices",
    "tilecast forecast --model gpt2 --device h100",
    "tilecast forecast --model meta-llama/Llama-3.1-8B --device H100 --phase decode --context 2048 --batch 16",
    "tilecast forecast --model llama3_70b --device H100",
    "tilecast forecast --model llama3_70b --system dgx_h100 --tp 8 --dtype fp8",
    "tilecast serve --model llama3_8b --device H100",
    "tilecast compare --models llama3_8b --devices A100 H100 B200 --formats bf16 fp8",
    "tilecast kernel --device B200 --product 4096x8192x8192 --dtype fp8",
    "tilecast forecast --model lama3_8b --device H100",
)


class Scenario(NamedTuple):
    """A scenario's command, and why its forecast misses where it does."""

    id: str
    command: str
    why: str = ""


A100 = "tilecast forecast --model {} --device A100 --dtype fp16"
TP4 = "tilecast forecast --model llama2_70b --system dgx_a100 --tp 4 --dtype fp16"
DECODE = " --phase decode --context 2048"
T11 = (
    "tilecast forecast --model gpt2 --system dgx_a100 --mode training --batch 480 --dp 8 --microbatch 12 "
    "--optimizer adamw --engine compiled"
)
SMALL = (
    "products of one row are forecast as vLLM's tables time them (1.4 to 1.5 TB/s of 2.0), where engines "
    "made for single requests come nearer to the peak; 1.5 ms are small kernels of 3 µs each, such as the "
    "rotation of keys, which engines fuse"
)
SHORT = (
    "the two engines measured differ by 38 %; at 128 tokens launches count, and the forecast has merged "
    "kernels in a CUDA graph"
)
ATTENTION = (
    "the scenario states attention in one kernel; the report is of 2 February 2023. With `--attention "
    "eager` the forecast is {eager} ms ({eager_low} to {eager_high}), which holds the figure: that the "
    "run wrote attention out is likely, not known, and was looked for after the miss"
)
T21 = "tilecast forecast --model llama2_13b --system dgx_a100 --tp 4 --mode training --optimizer adamw"
LONG = " --sequence 2048"
SCENARIOS = (
    Scenario(
        "I1.1 prefill 2048",
        A100.format("llama2_7b") + LONG,
        "merged products are forecast a little faster than the engines of 2023 ran them",
    ),
    Scenario("I1.1 prefill 128", A100.format("llama2_7b") + " --sequence 128", SHORT),
    Scenario("I1.1 decode", A100.format("llama2_7b") + DECODE, SMALL),
    Scenario("I1.2 prefill 2048", A100.format("llama2_13b") + LONG),
    Scenario("I1.2 decode", A100.format("llama2_13b") + DECODE),
    Scenario("I1.3 one GPU", A100.format("llama2_70b") + LONG),
    Scenario("I1.3 prefill 2048", TP4 + LONG),
    Scenario("I1.3 decode", TP4 + DECODE),
    Scenario("T1.1", T11, ATTENTION),
    Scenario("T2.1", T21 + LONG),
)


def run(command: str, *more: str) -> tuple[int, str, float, float]:
    """Exit code, what is printed, seconds until the answer, processor seconds."""
    words = [sys.executable, "-m", "tilecast", *shlex.split(command)[1:], *more]
    with tempfile.TemporaryDirectory() as cache:
        # a cache of traced kernels of its own: what is timed is the first time
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": cache})
        seconds, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return done.returncode, done.stdout + done.stderr, seconds, spent


def first() -> str:
    """The page of the first ten commands."""
    parts = [
        "# The first ten commands\n",
        "What a newcomer types, in this order, and what comes back: the first lines of each answer, the exit "
        f"code, seconds of processor time (Python {platform.python_version()}, nothing cached before). Written "
        "by `python benchmarks/transcript.py`.\n",
    ]
    for number, command in enumerate(FIRST, 1):
        code, said, _, spent = run(command)
        lines = said.rstrip().splitlines()
        more = [f"… {len(lines) - LINES} more lines"] if len(lines) > LINES else []
        ends = f", exit code {code}" if code else ""
        parts += [f"## {number}. {spent:.1f} s{ends}\n", "```text", f"$ {command}", *lines[:LINES], *more, "```\n"]
    return "\n".join(parts)


def scenarios() -> str:
    """The page of scenarios I1.1 to T2.1."""
    entries = yaml.safe_load((ROOT / "config/studies/scenarios.yaml").read_text())["scenarios"]
    truths = {entry["id"]: [one["ms"] for one in entry.get("truth", [])] for entry in entries}
    titles = {entry["id"]: entry["title"] for entry in entries}
    head = ["scenario", "forecast, ms", "80 % interval", "measured, ms", "error", "inside", "why it misses"]
    rows, commands, inside = [], [], []
    _, said, *_ = run(T11, "--attention", "eager", "--json")
    eager = json.loads(said)["answer"]
    named = {"eager": eager["latency_ms"], "eager_low": eager["low_ms"], "eager_high": eager["high_ms"]}
    for one in SCENARIOS:
        code, said, *_ = run(one.command, "--json")
        found: dict[str, Any] = json.loads(said)["answer"]
        truth = truths[one.id]
        commands += [f"{one.command}   # {one.id}"]
        cells = [f"{one.id}: {titles[one.id]}"]
        if code:
            rows.append([*cells, "–", "–", "–", "–", "–", f"exit code {code}: {found['memory']['verdict']}"])
            continue
        cells += [f"{found['latency_ms']:.1f}", f"{found['low_ms']:.1f} to {found['high_ms']:.1f}"]
        if not truth:
            rows.append([*cells, "none found", "–", "–", "no ground truth"])
            continue
        middle = (min(truth) + max(truth)) / 2
        error = 100 * (found["latency_ms"] / middle - 1)
        held = found["low_ms"] <= middle <= found["high_ms"]
        inside.append(held)
        spread = f"{min(truth):g} to {max(truth):g}" if len(truth) > 1 else f"{truth[0]:g}"
        why = one.why.format(**{name: f"{ms:.0f}" for name, ms in named.items()})
        rows.append([*cells, spread, f"{error:+.0f} %", "yes" if held else "no", "" if held else why])
    table = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(
        [
            "# Scenarios I1.1 to T2.1\n",
            "A published set of experiments names these workloads; what others measured, and where they say so, "
            "stands in `config/studies/scenarios.yaml`. Each is asked by the command below, as a user types it. "
            "The error is against the middle of what was measured, and `inside` says whether the interval holds "
            f"that middle: {sum(inside)} of {len(inside)} do. Nothing was fitted on these figures; but inference "
            "merges products of one input since a look at them, which made decoding better (I1.1 from 29 to 24 %, "
            "I1.3 from 13 to 7 %) and prompts worse (from 3 to 7 %). Reasons are read off the forecasts, not "
            "measured. Written by `python benchmarks/transcript.py`.\n",
            *table,
            "\n```bash",
            *commands,
            "```",
            "",
        ]
    )


PAGES = {"first": ("docs/use/first-commands.md", first), "scenarios": ("docs/evidence/scenarios.md", scenarios)}

if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        path, page = PAGES[name]
        (ROOT / path).write_text(page())
        print(path)
