"""What a command costs before it answers: which packages it loads, and when it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tilecast.base.paths import SYSTEMS

HEAVY = {"torch", "transformers", "scipy.stats", "sympy", "matplotlib"}
COUNTED = """
import json, sys
from tilecast.cli import main
for words in json.load(sys.stdin):
    try:
        code = main(words.split())
    except SystemExit as end:  # of argparse
        code = end.code
    print(json.dumps([words, code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*commands: str) -> list[tuple[str, int, set[str]]]:
    """Commands of one process, one after another: the exit code, and what was imported by its end, of each."""
    told = subprocess.run(
        [sys.executable, "-c", COUNTED], input=json.dumps(commands), capture_output=True, text=True, check=True
    ).stderr
    found = [json.loads(line) for line in told.splitlines() if line.startswith("[")]
    assert [words for words, _, _ in found] == list(commands)
    return [(words, code, set(modules)) for words, code, modules in found]


def test_no_fast_command_loads_what_is_slow() -> None:
    commands = (
        "collective --op all_reduce --system dgx_h100 --gpus 8 --bytes 1MB",
        "kernel --device H100 --product 4096x4096x4096",
        "forecast --model gpt2 --device H100",
        "forecast --model opt_13 --device B200 --mode training --batch 4 --dtype bf16 --optimizer adamw",
        "forecast --model gpt3_xl --device H200 --phase decode --context 500 --attention fused --json",
        "forecast --model gpt3_175b --system dgx_h100 --tp 8 --dtype bf16",
        "search --model gpt3_xl --system h100_sxm --gpus 8 --batch 16",
        "serve --model llama2_7b --device H100",
        "compare --models llama2_7b --devices H100 L40S",
        "recommend --model llama2_7b --devices H100 --rate 3",
        "kernel --device V100 --product 512x512x512 --dtype fp32",  # last: it alone loads pandas
    )
    for words, code, modules in loaded(*commands):
        assert code == 0, words
        assert "tilecast.cli" in modules
        assert not modules & (HEAVY if words == commands[-1] else HEAVY | {"pandas"}), words


def test_what_a_system_file_may_hold_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped one's next command loads no pydantic; a user's own is checked every time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(SYSTEMS / "dgx_h100.yaml", own := tmp_path / "own.yaml")
    command = "collective --op all_reduce --system {} --gpus 8 --bytes 1MB"
    asked = [command.format(system) for system in ("dgx_h100", "dgx_h100", own)]
    runs = [loaded(words)[0] for words in asked]
    assert [(code, "pydantic" in modules) for _, code, modules in runs] == [(0, True), (0, False), (0, True)]


def test_a_bad_argument_is_refused_before_anything_slow_is_loaded() -> None:
    commands = (
        "forecast --model gpt9 --device H100",
        "forecast --model gpt2 --device H9",
        "forecast --model gpt2 --device H100 --dtype fp7",
        "forecast --model gpt2 --device H100 --batch -1",
        "forecast --model gpt2 --device H100 --sequence 5000",
        "forecast --model gpt2 --device H100 --phase decode --mode training",
        "forecast --model gpt2 --device H100 --tp 2",
        "forecast --model gpt2 --system dgx_h101",
        "search --model gpt2 --system dgx_h100 --gpus 8 --objective ttft --mode training",
        "search --model gpt9 --system dgx_h100 --gpus 8",
        "search --model gpt2 --system h100_sxm --gpus 8000000",
        "forecast --model gpt2 --system dgx_h100 --tp 5",
        "serve --model gpt9 --device H100",
        "serve --model gpt2 --device H100 --cached 3",
        "compare --models gpt2 --devices H9",
        "recommend --model gpt9 --devices H100 --rate 3",
        "kernel --device H100 --product 4096x4096",
        "kernel --device H9 --product 4096x4096x4096",
        "collective --op all_reduce --system dgx_h100 --gpus 8 --bytes many",
    )
    for words, code, modules in loaded(*commands):
        assert code == 1, words
        assert not modules & (HEAVY | {"pandas", "numpy", "scipy"}), words


def test_help_loads_nothing_but_the_names_of_commands() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tilecast", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & (HEAVY | {"pandas", "numpy", "pydantic", "yaml"})
