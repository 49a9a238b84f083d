"""What a command costs before it answers: which packages it loads, and when it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "scipy.stats", "sympy", "matplotlib"}
COUNTED = "import json, sys; from tilecast.cli import main; code = main(sys.argv[1:])\n"
COUNTED += "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"


def loaded(*words: str) -> tuple[int, set[str]]:
    """A command's exit code, and what it has imported."""
    command = [sys.executable, "-c", COUNTED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stderr.splitlines()[-1].startswith("["):  # argparse has ended it
        return done.returncode, set()
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize(
    "words",
    [
        "forecast --model gpt2 --device H100",
        "forecast --model opt_13 --device B200 --mode training --batch 4 --dtype bf16 --optimizer adamw",
        "forecast --model gpt3_xl --device H200 --phase decode --context 500 --attention fused --json",
        "forecast --model gpt3_175b --system dgx_h100 --tp 8 --dtype bf16",
        "search --model gpt3_xl --system h100_sxm --gpus 8 --batch 16",
        "kernel --device H100 --product 4096x4096x4096",
        "kernel --device V100 --product 512x512x512 --dtype fp32",
        "collective --op all_reduce --system dgx_h100 --gpus 8 --bytes 1MB",
    ],
)
def test_no_fast_command_loads_what_is_slow(words: str) -> None:
    code, modules = loaded(*words.split())
    assert code == 0
    assert "tilecast.cli" in modules
    assert not modules & (HEAVY if words.startswith("kernel --device V100") else HEAVY | {"pandas"})


@pytest.mark.parametrize(
    "words",
    [
        "forecast --model gpt9 --device H100",
        "forecast --model gpt2 --device H9",
        "forecast --model gpt2 --device H100 --dtype fp7",
        "forecast --model gpt2 --device H100 --batch -1",
        "forecast --model gpt2 --device H100 --sequence 5000",
        "forecast --model gpt2 --device H100 --phase decode --mode training",
        "forecast --model gpt2 --device H100 --tp 2",
        "forecast --model gpt2 --system dgx_h101",
        "forecast --model gpt2 --system dgx_h100 --tp 5",
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
    ],
)
def test_a_bad_argument_is_refused_before_anything_slow_is_loaded(words: str) -> None:
    code, modules = loaded(*words.split())
    assert code == 1
    assert not modules & (HEAVY | {"pandas", "numpy", "scipy"})


def test_help_loads_nothing_but_the_names_of_commands() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tilecast", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & (HEAVY | {"pandas", "numpy", "pydantic", "yaml"})
