"""Completion in a real bash: what it offers is what the commands take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tilecast.cli import COMMANDS, main
from tilecast.cli.completion import SCRIPTS, places


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "tilecast"
    path.write_text(SCRIPTS["bash"](list(places())))
    return path


def offered(script: Path, line: str, folder: Path | None = None) -> set[str]:
    words = line.split(" ")
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _tilecast; '
    code += r'printf "%s\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", code, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    assert not done.stderr
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(
    ("line", "among", "not_among"),
    [
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
    ],
)
def test_bash_offers_what_a_command_takes(script: Path, line: str, among: set[str], not_among: set[str]) -> None:
    found = offered(script, line)
    assert among <= found and not found & not_among


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_files_are_offered_where_a_file_may_stand(script: Path, tmp_path: Path) -> None:
    (tmp_path / "my-gpu.yaml").touch()
    assert offered(script, "tilecast forecast --device my", tmp_path) == {"my-gpu.yaml"}
    assert offered(script, "tilecast forecast --dtype my", tmp_path) == set()


def test_every_command_and_option_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    found = {place.path: place for place in places()}
    assert set(COMMANDS) <= set(found)
    assert any("--kv-dtype" in flag.names for flag in found["forecast"].flags)
    for shell in SCRIPTS:
        assert main(["completion", shell]) == 0
        said = capsys.readouterr().out
        assert all(name in said for name in COMMANDS) and "kv-dtype" in said
