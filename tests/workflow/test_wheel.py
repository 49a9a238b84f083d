"""The library as a wheel: built from the tree, installed where nothing else is, it answers alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

HEAVIEST_BYTES = 40 << 20


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tracked sources in a folder of its own."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "src", "pyproject.toml", "README.md"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (repository / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((repository / name).read_bytes())
    target = tmp_path_factory.mktemp("dist")
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel; its dependencies alone are read from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    words = ["install", "--quiet", "--no-deps", "--target", str(packages), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    # A folder named in a .pth file is searched last, and .pth files within it (an editable install) do not count.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def tilecast(installed: Path, *words: str) -> str:
    """What the installed command prints, asked from a folder where nothing lies."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TILECAST_MIRROR")
    }
    done = subprocess.run(
        [str(installed / "bin/python"), "-m", "tilecast", *words],
        cwd=installed, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path, repository: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src/tilecast"], cwd=repository, capture_output=True, text=True, check=True
    )
    expected = {name.removeprefix("src/") for name in listed.stdout.splitlines() if (repository / name).is_file()}
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    assert wheel.stat().st_size < HEAVIEST_BYTES


@pytest.mark.parametrize(
    "words",
    [
        ["forecast", "--model", "gpt2", "--device", "H100", "--sequence", "128"],
        ["kernel", "--device", "B200", "--product", "4096x4096x4096", "--dtype", "fp8"],
        ["collective", "--op", "all_reduce", "--system", "dgx_h100", "--gpus", "8", "--bytes", "64MiB"],
        ["forecast", "--model", "gpt2", "--system", "dgx_h100", "--dtype", "bf16", "--batch", "8", "--dp", "8"],
    ],
    ids=lambda words: words[0],
)
def test_the_installed_command_answers_as_the_checkout_does(
    installed: Path, repository: Path, words: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tilecast", *words], cwd=repository, capture_output=True, text=True, check=True
    )
    assert tilecast(installed, *words) == done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["forecast", "--model", "gpt3_xl", "--device", "H100", "--mode", "training", "--batch", "2"],
        ["forecast", "--model", "gpt3_175b", "--system", "dgx_h100", "--dtype", "bf16", "--tp", "8"],
        ["graph", "--model", "opt_13", "--phase", "decode", "--context", "100", "--fuse"],
    ],
    ids=lambda words: words[0],
)
def test_shipped_models_are_answered_where_torch_is_not_installed(
    installed: Path, repository: Path, words: list[str]
) -> None:
    code = "import sys; sys.modules |= dict.fromkeys(('torch', 'transformers'))\n"  # an import of them fails
    code += "from tilecast.cli import main; sys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    alone = [str(installed / "bin/python"), "-c", code, *words]
    done = subprocess.run(alone, cwd=installed, env=environment, capture_output=True, text=True, check=True)
    assert tilecast(installed, *words) == done.stdout


def test_what_runs_is_the_wheel(installed: Path) -> None:
    words = [str(installed / "bin/python"), "-c", "import tilecast; print(tilecast.__file__)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=installed, env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(installed)
