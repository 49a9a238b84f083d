"""Make a conda channel on this disk from the running interpreter and the wheels installed beside it.

`make_channel` packs what the environment files name, and all that it requires, at the versions installed here:
the wheels of requirements/lock.txt as pip unpacked them, so nothing is downloaded. What an environment file asks
of pip becomes a wheel again, for pip's `--find-links`.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import yaml
from packaging.requirements import Requirement
from packaging.tags import parse_tag

CONDA_NAMES = {  # packages whose name on conda-forge is not the one on PyPI
    "matplotlib": "matplotlib-base",
    "seaborn": "seaborn-base",
    "torch": "pytorch-cpu",
    "tzdata": "python-tzdata",
}
PYPI_NAMES = {conda: pypi for pypi, conda in CONDA_NAMES.items()}
XY = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{XY}/site-packages"

# Runs in every interpreter of the channel; when a job ends it tells which modules were loaded, and from where.
TRACE = """
import atexit, json, os, sys

def tell():
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    modules = {name: file for name, file in files.items() if file and "." not in name}
    record = {"script": os.path.basename(sys.argv[0]), "prefix": sys.prefix, "modules": modules}
    with open(os.path.join(os.environ["CONDA_JOB_TRACE"], f"{os.getpid()}.json"), "w") as stream:
        json.dump(record, stream)

if os.environ.get("CONDA_JOB_TRACE"):
    atexit.register(tell)
"""

Member = bytes | str | Path  # a file's content, a symbolic link's target, or the file itself


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies(env_file: Path) -> tuple[list[str], list[str]]:
    """What an environment file asks of conda, and what it asks of pip."""
    entries = yaml.safe_load(env_file.read_text())["dependencies"]
    return [e for e in entries if isinstance(e, str)], [
        p for e in entries if isinstance(e, dict) for p in e["pip"]
    ]


def requirements(distribution: importlib.metadata.Distribution) -> list[Requirement]:
    """What a distribution requires on this machine, extras left out."""
    parsed = [Requirement(text) for text in distribution.requires or []]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def closure(names: list[str]) -> list[importlib.metadata.Distribution]:
    """The installed distributions of these names and all they require, once each."""
    found: dict[str, importlib.metadata.Distribution] = {}
    todo = [normal(name) for name in names]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            todo += [normal(requirement.name) for requirement in requirements(found[name])]
    return [found[name] for name in sorted(found)]


def installed_files(distribution: importlib.metadata.Distribution) -> dict[str, Path]:
    """A distribution's files below site-packages; its commands in `bin` name this interpreter and stay out."""
    paths = [path for path in distribution.files or [] if ".." not in path.parts]
    return {path.as_posix(): Path(str(path.locate())) for path in paths if Path(str(path.locate())).is_file()}


def write_tar(path: Path, members: dict[str, Member]) -> None:
    """Write a zstd-compressed tar archive."""
    with pyarrow.output_stream(path, compression="zstd") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for name, member in sorted(members.items()):
            info = tarfile.TarInfo(name)
            if isinstance(member, str):
                info.type, info.linkname = tarfile.SYMTYPE, member
                tar.addfile(info)
                continue
            content = member if isinstance(member, bytes) else member.read_bytes()
            info.size = len(content)
            if isinstance(member, Path):  # compiled Python files are valid for their source's mode and second only
                info.mtime, info.mode = int(member.stat().st_mtime), member.stat().st_mode & 0o777
            tar.addfile(info, io.BytesIO(content))


def describe(name: str, member: Member) -> dict[str, str | int]:
    """The entry of one file in a package's list of paths."""
    if isinstance(member, str):
        return {"_path": name, "path_type": "softlink", "sha256": hashlib.sha256().hexdigest(), "size_in_bytes": 0}
    content = member if isinstance(member, bytes) else member.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"_path": name, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(content)}


def pack(folder: Path, name: str, version: str, depends: list[str], members: dict[str, Member]) -> None:
    """Write one `.conda` package into the folder of a platform."""
    build = f"py{XY.replace('.', '')}_0"
    stem = f"{name}-{version}-{build}"
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": depends,
        "subdir": folder.name,
        "timestamp": 1_700_000_000_000,
    }
    if name == "python":
        index["python_site_packages_path"] = SITE
    listed = {"paths": [describe(*item) for item in sorted(members.items())], "paths_version": 1}
    info: dict[str, Member] = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps(listed).encode(),
    }
    with zipfile.ZipFile(folder / f"{stem}.conda", "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for kind, content in (("info", info), ("pkg", members)):
            part = folder / f"{kind}-{stem}.tar.zst"
            write_tar(part, content)
            archive.write(part, part.name)
            part.unlink()


def pack_python(folder: Path) -> None:
    """The running interpreter as a package: links to it, laid out as a virtual environment."""
    home = Path(sys.base_prefix) / "bin"
    version = ".".join(map(str, sys.version_info[:3]))
    config = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
    members: dict[str, Member] = {
        f"bin/python{XY}": str((home / f"python{XY}").resolve()),
        "bin/python3": f"python{XY}",
        "bin/python": f"python{XY}",
        "pyvenv.cfg": config.encode(),
        f"{SITE}/conda_job_trace.py": TRACE.encode(),
        f"{SITE}/conda_job_trace.pth": b"import conda_job_trace\n",
    }
    pack(folder, "python", version, [], members)


def pack_distribution(folder: Path, distribution: importlib.metadata.Distribution) -> None:
    """One installed distribution as a conda package, its requirements under conda's names."""
    depends = [f"python {XY}.*"]
    for requirement in requirements(distribution):
        name = normal(requirement.name)
        depends.append(f"{CONDA_NAMES.get(name, name)} {requirement.specifier}".strip())
    name = normal(distribution.name)
    version = distribution.version.partition("+")[0]  # `2.13.0+cpu` is 2.13.0 to a solver
    members: dict[str, Member] = {f"{SITE}/{path}": file for path, file in installed_files(distribution).items()}
    pack(folder, CONDA_NAMES.get(name, name), version, depends, members)


def pack_wheel(folder: Path, distribution: importlib.metadata.Distribution) -> None:
    """One installed distribution as the wheel it was installed from, without what pip added."""
    tag = sorted(
        str(t)
        for line in (distribution.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
        for t in parse_tag(line[4:].strip())
    )[0]
    name = distribution.name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{tag}.whl", "w") as wheel:
        for path, file in installed_files(distribution).items():
            if not path.endswith(".pyc"):
                wheel.write(file, path)


def make_channel(channel: Path, wheels: Path, env_files: list[Path]) -> None:
    """Fill `channel` with packages and `wheels` with wheels, enough to install every one of `env_files`."""
    from rattler import MatchSpec
    from rattler.index import index_fs

    folder = channel / "linux-64"
    for new in (folder, channel / "noarch", wheels):
        new.mkdir(parents=True, exist_ok=True)
    asked = [dependencies(env_file) for env_file in env_files]
    conda = {str(MatchSpec(spec).name.normalized) for specs, _ in asked for spec in specs} - {"python"}
    pip = {Requirement(spec).name for _, specs in asked for spec in specs}
    pack_python(folder)
    for distribution in closure([PYPI_NAMES.get(name, name) for name in sorted(conda)]):
        pack_distribution(folder, distribution)
    for distribution in closure(sorted(pip)):
        pack_wheel(wheels, distribution)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False, force=True))


if __name__ == "__main__":
    make_channel(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
    os._exit(0)  # the indexer's threads can outlive the interpreter, and abort it at its end
