"""Every option of every command given what it does not expect: a result, one line, or the usage."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzzing import FUZZED, watched
from hypothesis import given
from hypothesis import strategies as st
from parsers import INSIDE, ROOT, RUN, TINY, TRACE

from tilecast.cli import COMMANDS, main, module_of
from tilecast.measure import bundle

# No path among them that leads out of the folder: a command writes where its user tells it to.
VALUES = [
    "", " ", "-1", "0", "1", "2.5", "+3", "1_000", "0x10", "nan", "inf", "-inf", "1e400", "1e30", "9" * 20,
    "9" * 5000, "١٢", "1,2", ",", "8,", "0,0", "1x2x3", "0x0x0", "x", "None", "true", "[]", "{}", "x" * 10_000,
    "\udcff", "\x1b[2J", "a\nb", "\u202e", "é", "%s%n", "{0}", "$(touch hacked)", "`touch hacked`",
    "!!python/name:os.system", "=1+1", "balanced,zipf:" + "9" * 400, "zipf:1.2.3", "capacity:0", "memory_gb=1e999",
    "tp=" + "9" * 5000, "tp=0", "pp=x", ".", "tiny.json", "missing.yaml", "missing.json", "folder.csv", "vit0x0x0",
    "vit" + "9" * 5000 + "x1x1", "fp64", "cpu,cuda",
]  # fmt: skip
PREDICT = ["--predictor", "roofline"]
BASES: list[list[str]] = [
    ["forecast", "--model", "tiny.json", "--device", "H100", "--sequence", "8", *PREDICT],
    ["forecast", "--model", "tiny.json", "--device", "H100", "--phase", "decode", "--context", "8", *PREDICT],
    ["forecast", "--model", "tiny.json", "--system", "dgx_h100", "--tp", "2", "--mode", "training", "--batch", "4",
     "--sequence", "8", "--dtype", "bf16", *PREDICT],
    ["graph", "--model", "tiny.json", "--sequence", "8", "--output", "kernels.csv", "--fuse"],
    ["graph", "--module", "torch.nn:Identity", "--input", "2x3"],
    ["search", "--model", "tiny.json", "--system", "dgx_h100", "--gpus", "2", "--batch", "4", "--sequence", "8",
     *PREDICT],
    ["collective", "--op", "all_reduce", "--system", "dgx_h100", "--gpus", "8", "--bytes", "1MB"],
    ["kernel", "--device", "H100", "--product", "16x16x16"],
    ["list", "engines"],
    ["completion", "bash"],
    ["compare", "--models", "llama3_8b", "--devices", "P4", "--output", "8", "--input", "64"],
    ["recommend", "--model", "llama3_8b", "--devices", "P4", "--rate", "2", "--output", "8", "--input", "64"],
    ["kernel", "--device", "H100", "--attention", "8x1x128", "--context", "64", "--kv-heads", "2"],
    ["train", "--data", "missing", "--predictor", "li", "--output", "out"],
    ["bundle", "make", "--results", "results", "--measured", "measured", "--output", "x.tar.gz"],
    ["bundle", "verify", "x.tar.gz"],
    ["check", "results"],
    ["import", "x.tar.gz", "--into", "kept"],
    ["numa", "analyze", "profiles", "--output", "x.csv"],
    ["serve", "--model", "llama3_8b", "--device", "H100", "--concurrency", "2", "--output", "8"],
    ["moe", "--system", "8xA100", "--strategy", "expert_parallel", "--set", "reuse=0.1", "--debug", "x.log"],
    ["numa", "plan", "quick_test", "samples=5", "--output", "plan.csv"],
    ["numa", "check", "quick_test", "samples=5", "--device", "cpu", "--sysfs", "sys"],
    ["numa", "topology", "--sysfs", "sys"],
    ["measure", "forecast", "--device", "NVIDIA_H100_80GB_HBM3", "--each", "1", "--dtypes", "fp32", "--families",
     "softmax", "--output", "out"],
    ["measure", "calibrate", "--device", RUN.name, "--output", "measured", "--file", "scales.json"],
    ["measure", "errors", "--device", RUN.name, "--output", "measured"],
]  # fmt: skip
TIMED = {("measure", name) for name in ("campaign", "device", "kernels", "model")} | {
    ("numa", "run")
}  # their options' types are the others'
UNREADY = {
    ("train",),
    ("bundle", "make"),
    ("check",),
}  # need a finished run's files, whose readers are driven by themselves
BARE: set[tuple[str, ...]] = set()  # have none that takes a value


def leaves() -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that can be given, with its parser."""
    for name in COMMANDS:
        parser = argparse.ArgumentParser(prog=name)
        module_of(name).add_arguments(parser)
        parts = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not parts:
            yield (name,), parser
        for inner, below in parts[0].choices.items() if parts else ():
            yield (name, inner), below


LEAVES = dict(leaves())


def leaf_of(arguments: list[str]) -> tuple[str, ...]:
    return (arguments[0],) if (arguments[0],) in LEAVES else (arguments[0], arguments[1])


def valued(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its options and arguments that take a value."""
    return [action for action in parser._actions if action.nargs != 0 and action.dest not in ("what", "action")]


def test_every_command_is_driven() -> None:
    assert {leaf_of(base) for base in BASES} | TIMED | BARE == set(LEAVES)
    assert all(not valued(LEAVES[leaf]) for leaf in BARE)


def test_every_number_has_a_limit() -> None:
    """int() and float() take anything: 10**18 GPUs, NaN. tilecast.base.limits has the types to use."""
    plain = [
        (*leaf, action.option_strings[-1])
        for leaf, parser in LEAVES.items()
        for action in parser._actions
        if action.type in (int, float, complex)
    ]
    assert plain == [], "use limits.option or limits.amount"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    (root / "tiny.json").write_text(json.dumps(TINY[0]))
    (root / "folder.csv").mkdir()
    shutil.copytree(RUN, root / "measured" / RUN.name)
    bundle.make(INSIDE, root / "x.tar.gz")
    node = root / "sys/devices/system/node/node0"
    node.mkdir(parents=True)
    (node / "cpulist").write_text("0-3")
    (node / "meminfo").write_text("Node 0 MemTotal: 1000000 kB")
    (root / "profiles").mkdir()
    (root / "profiles/pipeline_gpu0_numa0_vit32x2x128.json").write_text(json.dumps(TRACE))
    return root


def answered(arguments: list[str]) -> str:
    """How a command ended: `done`, `refused` in a line, or `usage`; anything else is raised."""
    out, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said), watched(Path.cwd()):
            code = main(arguments)
    except SystemExit as ended:
        assert ended.code == 2
        return "usage"
    lines = said.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert code in (0, 1, 3), code
    if code == 1:
        assert any(line.startswith("tilecast: error: ") for line in lines), lines
        assert len([line for line in lines if line.startswith("tilecast: error: ")]) == 1 or arguments[0] == "numa"
    return "refused" if code == 1 else "done"


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES, ids=lambda base: " ".join(base[:2]))
def test_a_hostile_option_is_answered(base: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))  # where traces of a user's models are kept
    actions = valued(LEAVES[leaf_of(base)])
    assert answered(base) == ("refused" if leaf_of(base) in UNREADY else "done")
    tried: Counter[str] = Counter()

    @FUZZED
    @given(number=st.integers(0, 2**48))
    def fuzz(number: int) -> None:
        draw = random.Random(number)
        arguments = list(base)
        for _ in range(draw.choice([1, 1, 1, 2])):
            action, value = draw.choice(actions), draw.choice(VALUES)
            if action.option_strings:  # the last one given counts
                arguments.append(f"{action.option_strings[-1]}={value}")
            else:
                arguments[len(leaf_of(base))] = value
        tried[answered(arguments)] += 1

    fuzz()
    refused = tried["refused"] + tried["usage"]
    print(f"| `tilecast {' '.join(leaf_of(base))}` | {tried.total()} | {tried['done']} | {refused} | 0 |")
    assert refused > 0


@pytest.mark.parametrize(
    "words",
    [
        "graph --model=", "forecast --model gpt2 --device H100 --prices=", "graph --model gpt2 --output=",
        "serve --model llama3_8b --device H100 --concurrency 2 --decoders 1",
        f"serve --model llama3_8b --system dgx_h100 --concurrency 2 --decoders {'9' * 5000}",
    ],
)  # fmt: skip
def test_what_fuzzing_found_is_refused_in_a_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("tilecast: error: --") and said.count("\n") == 1 and len(said) < 300


def test_what_a_bad_number_says_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["search", "--model", "gpt2", "--system", "dgx_h100", "--gpus"]
    for value, said in (
        ("1e9", "not a whole number"),
        ("9" * 5000, "not a whole number"),
        ("9" * 30, "more than 1,000,000"),
    ):
        assert main([*base, value]) == 1
        words = capsys.readouterr().err
        assert words.startswith("tilecast: error: --gpus: ") and said in words
        assert words.count("\n") == 1 and len(words) < 300


def test_the_documented_limits_are_those_in_force() -> None:
    from tilecast.base.limits import MOST

    text = (ROOT / "docs/develop/security.md").read_text()
    for name, (most, meaning) in MOST.items():
        assert f"| `{name}` | {most:,} | {meaning} |" in text
