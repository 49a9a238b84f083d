"""The `tilecast` command: usage, exit codes, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from types import ModuleType

import pytest

from tilecast import __version__, cli
from tilecast.base.errors import InputError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A sub-command `weigh`, which a test fills with behaviour."""
    module = ModuleType("tilecast.cli.weigh")

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("stone")

    module.add_arguments = add_arguments  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tilecast.cli.weigh", module)
    monkeypatch.setitem(cli.COMMANDS, "weigh", "weigh a stone")
    return module


def test_a_command_gets_its_arguments_and_gives_the_exit_code(command: ModuleType) -> None:
    seen = []
    command.run = lambda args: seen.append(args.stone) or 4  # type: ignore[attr-defined]
    assert cli.main(["weigh", "granite"]) == 4
    assert seen == ["granite"]


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (InputError("stone.yaml", "no mass"), 1, "tilecast: error: stone.yaml: no mass\n"),
        (KeyboardInterrupt(), 130, "tilecast: interrupted; finished steps are kept\n"),
    ],
)
def test_a_failure_is_one_line(
    command: ModuleType, failure: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise failure

    command.run = run  # type: ignore[attr-defined]
    assert cli.main(["weigh", "granite"]) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("arguments", [[], ["weigh"], ["fly"], ["weigh", "a", "b"]])
def test_bad_usage_is_exit_code_2(command: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_every_command_exists() -> None:
    for name in cli.COMMANDS:
        module = cli.module_of(name)
        module.add_arguments(argparse.ArgumentParser())
        assert callable(module.run)


def test_version_is_told_without_loading_the_library() -> None:
    code = (
        "import sys, tilecast.cli\n"
        "try: tilecast.cli.main(['--version'])\n"
        "except SystemExit: print(sorted({'pandas', 'numpy', 'torch', 'yaml', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"tilecast {__version__}", "[]"]
