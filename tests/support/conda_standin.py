"""Stand in for `conda` where none is installed: the few calls that Snakemake makes, on the rattler solver.

It solves and installs for real, from the channels an environment file names; CONDA_CHANNEL_ALIAS says where a
channel's bare name is looked up, as for conda itself. `write_commands` puts `conda` and `activate` into a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ACTIVATE = """\
export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
"""


def write_commands(root: Path) -> Path:
    """Make `root` look like a conda installation; returns the folder to put first on PATH."""
    folder = root / "bin"
    folder.mkdir(parents=True)
    command = shlex.join([sys.executable, str(Path(__file__).resolve())])
    (folder / "conda").write_text(f'#!/bin/sh\nCONDA_STANDIN_ROOT={shlex.quote(str(root))} exec {command} "$@"\n')
    (folder / "conda").chmod(0o755)
    (folder / "activate").write_text(ACTIVATE)
    return folder


def create(env_file: Path, prefix: Path, packages: Path) -> None:
    """Solve an environment file and install it into `prefix`."""
    import yaml
    from rattler import Channel, ChannelConfig, Platform, VirtualPackage, install, solve

    wanted = yaml.safe_load(env_file.read_text())
    config = ChannelConfig(channel_alias=os.environ["CONDA_CHANNEL_ALIAS"])
    channels = [Channel(name, config) for name in wanted["channels"] if name != "nodefaults"]
    specs = [entry for entry in wanted["dependencies"] if isinstance(entry, str)]
    pip = [spec for entry in wanted["dependencies"] if isinstance(entry, dict) for spec in entry["pip"]]

    async def solve_and_install() -> None:
        platforms = [Platform.current(), Platform("noarch")]
        records = await solve(channels, specs, platforms=platforms, virtual_packages=VirtualPackage.detect())
        await install(records, target_prefix=prefix, cache_dir=packages, show_progress=False)
        for record in sorted(records, key=lambda record: record.file_name):
            print("+", record.file_name)

    asyncio.run(solve_and_install())
    if pip:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("\n".join(pip))
            listed.flush()
            install_pip = [prefix / "bin/python", "-m", "pip", "install", "--quiet", "-r", listed.name]
            subprocess.run(install_pip, check=True)


def main(arguments: list[str]) -> None:
    """Answer one call."""
    root = Path(os.environ["CONDA_STANDIN_ROOT"])
    match arguments:
        case ["--version"]:
            print("conda 24.7.1")
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(root), "platform": "linux-64"}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *rest]:
            parser = argparse.ArgumentParser(prog="conda env create")
            for flag in ("--quiet", "--no-default-packages"):
                parser.add_argument(flag, action="store_true")
            parser.add_argument("--file", type=Path, required=True)
            parser.add_argument("--prefix", type=Path, required=True)
            options = parser.parse_args(rest)
            create(options.file, options.prefix, root / "pkgs")
            sys.stdout.flush()
            os._exit(0)  # the solver's threads can outlive the interpreter, and abort it at its end
        case ["clean", *_]:
            pass  # packages unpack from the channel itself: no archives are kept
        case _:
            sys.exit(f"conda stand-in: no answer to {shlex.join(arguments)}")


if __name__ == "__main__":
    main(sys.argv[1:])
