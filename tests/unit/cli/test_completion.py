"""Completion in a real bash, zsh and fish: what it offers is what the commands take."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from tilecast.cli import COMMANDS, main
from tilecast.cli.completion import SCRIPTS, places


@functools.cache
def written(shell: str) -> str:
    """The script for a shell, made once."""
    return SCRIPTS[shell](list(places()))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "tilecast"
    path.write_text(written("bash"))
    return path


def offered(script: Path, line: str, folder: Path | None = None) -> set[str]:
    words = line.split(" ")
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _tilecast; '
    code += r'printf "%s\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", code, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    assert not done.stderr
    return set(done.stdout.split("\n")) - {""}


LINES: list[tuple[str, set[str], set[str]]] = [
    ("tilecast fore", {"forecast"}, {"serve"}),
    ("tilecast forecast --ph", {"--phase"}, {"--predictor"}),
    ("tilecast forecast --phase ", {"prefill", "decode"}, {"--phase"}),
    ("tilecast forecast --model llama3_", {"llama3_8b", "llama3_70b"}, {"gpt2"}),
    ("tilecast forecast --model gpt2 --device H", {"H100", "H200"}, {"A100-SXM"}),
    ("tilecast forecast --no-overlap --tp", {"--tp"}, set()),
    ("tilecast forecast --engine ", {"compiled", "eager"}, {"vllm"}),
    ("tilecast serve --engine ", {"vllm", "sglang", "trtllm"}, {"eager"}),
    ("tilecast compare --models gpt2 --devices H100 B", {"B200", "B300"}, {"H100"}),
    ("tilecast serve --system dgx", {"dgx_a100", "dgx_h100"}, {"h100_sxm"}),
    ("tilecast list dev", {"devices"}, {"models"}),
    ("tilecast measure ker", {"kernels"}, {"models"}),
    ("tilecast measure kernels --bud", {"--budget"}, set()),
    ("tilecast completion ", {"bash", "zsh", "fish"}, set()),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(("line", "among", "not_among"), LINES)
def test_bash_offers_what_a_command_takes(script: Path, line: str, among: set[str], not_among: set[str]) -> None:
    found = offered(script, line)
    assert among <= found and not found & not_among


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_files_are_offered_where_a_file_may_stand(script: Path, tmp_path: Path) -> None:
    (tmp_path / "my-gpu.yaml").touch()
    assert offered(script, "tilecast forecast --device my", tmp_path) == {"my-gpu.yaml"}
    assert offered(script, "tilecast forecast --dtype my", tmp_path) == set()


ZSH = """fpath=("$1" $fpath); shift; autoload -U compinit; compinit -u -D
compset() { return 1 }
compadd() { print -rl -- ${(M)matches:#${words[CURRENT]}*} }  # as zsh's own, by what was typed
for line; do  # each in a shell of its own, which has completed nothing yet
( words=("${(@s: :)line}"); CURRENT=$#words; eval "${_comps[tilecast]}"; print AGAIN; eval "${_comps[tilecast]}" )
print NEXT; done
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_zsh_offers_the_same_when_first_asked(tmp_path: Path) -> None:
    (tmp_path / "_tilecast").write_text(written("zsh"))
    command = ["zsh", "-f", "-c", ZSH, "zsh", str(tmp_path), *(line for line, *_ in LINES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    *answers, end = done.stdout.split("NEXT\n")
    assert len(answers) == len(LINES) and not end
    for answer, (line, among, not_among) in zip(answers, LINES, strict=True):
        first, again = (set(part.split()) for part in answer.split("AGAIN"))
        assert first == again and among <= first and not first & not_among, (line, done.stderr)


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
@pytest.mark.parametrize(
    ("line", "among", "not_among"), [one for one in LINES if "gpt2 --devices H100 B" not in one[0]]
)
def test_fish_offers_the_same(tmp_path: Path, line: str, among: set[str], not_among: set[str]) -> None:
    script = tmp_path / "tilecast.fish"
    script.write_text(written("fish"))
    command = ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = {words.split("\t")[0] for words in done.stdout.splitlines()}
    assert among <= found and not found & not_among, done.stderr


def test_every_command_and_option_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    found = {place.path: place for place in places()}
    assert set(COMMANDS) <= set(found)
    assert any("--kv-dtype" in flag.names for flag in found["forecast"].flags)
    for shell in SCRIPTS:
        assert main(["completion", shell]) == 0
        said = capsys.readouterr().out
        assert all(name in said for name in COMMANDS) and "kv-dtype" in said
