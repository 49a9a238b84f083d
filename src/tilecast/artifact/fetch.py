"""One archive of verified files, from the first source that can serve: a mirror, git, or none."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from tilecast.artifact.git import git_files
from tilecast.artifact.lock import Entry, check_size, read_lock, verify
from tilecast.artifact.process import Unavailable
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.files import atomic_path, write_text

Source = Literal["mirror", "git", "published"]


def mirror_files(mirror: Path, entries: list[Entry]) -> Iterator[tuple[str, bytes]]:
    """Every locked file that the mirror holds, verified; InputError for one that is not what the lock names."""
    if not mirror.is_dir():
        raise InputError(mirror, "the mirror is not a directory", "see artifact.mirror and TILECAST_MIRROR")
    root = mirror.resolve()
    found = 0
    for entry in entries:
        path = root / entry.path
        if not os.path.lexists(path):
            continue
        real = path.resolve()
        if not real.is_relative_to(root):
            raise InputError(entry.path, "is a link that leads out of the mirror", "put the file itself there")
        if not real.is_file():
            raise InputError(entry.path, "is not a regular file in the mirror")
        found += 1
        try:
            check_size(entry, real.stat().st_size)
            data = real.read_bytes()
        except OSError as error:
            raise InputError(entry.path, f"cannot be read from the mirror ({error.strerror})") from None
        yield entry.path, verify(entry, data)
    if not found:
        problem = "the mirror holds none of the artifact's files"
        raise InputError(mirror, problem, f"expected {entries[0].path} in it")


def write_archive(path: str | os.PathLike[str], files: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
    """Write a zip that depends on the files alone; (number of files, their bytes)."""
    count = size = 0
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, data in files:
            about = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            about.compress_type = zipfile.ZIP_DEFLATED
            about.create_system = 3
            about.external_attr = 0o644 << 16
            archive.writestr(about, data, compresslevel=1)
            count, size = count + 1, size + len(data)
    return count, size


def fetch(
    lock: str | os.PathLike[str],
    archive: str | os.PathLike[str],
    record: str | os.PathLike[str],
    *,
    repository: str,
    commit: str,
    sources: list[Source],
    mirror: Path | None,
    timeout_s: float,
    attempts: int,
) -> None:
    """Write the archive and the record of which source served, with what; no machine path is in either."""
    entries = read_lock(lock)
    passed: list[dict[str, str]] = []
    for source in sources:
        try:
            files: Iterable[tuple[str, bytes]] = ()
            if source == "mirror":
                if mirror is None:
                    raise Unavailable("no mirror is configured")
                files = mirror_files(mirror, entries)
            elif source == "git":
                scratch = Path(archive).parent / "git.partial"
                files = git_files(repository, commit, entries, scratch, timeout_s=timeout_s, attempts=attempts)
            count, size = write_archive(archive, files)
        except Unavailable as error:
            print(f"{source}: {error}")
            reason = "not configured" if source == "mirror" else "not available"
            passed.append({"source": source, "reason": reason})
            continue
        about: dict[str, Any] = {
            "source": source,
            "repository": repository,
            "commit": commit,
            "files_in_commit": len(entries),
            "files_verified": count,
            "files_absent": len(entries) - count,
            "bytes_verified": size,
            "passed_over": passed,
            "mirror_configured": mirror is not None,
        }
        write_text(record, json.dumps(about, indent=2) + "\n")
        print(f"{source}: {count} of {len(entries)} files verified against the lock")
        return
    reasons = ", ".join(f"{one['source']} {one['reason']}" for one in passed)
    raise TilecastError(f"no source of the artifact could serve: {reasons}; add `published` to artifact.sources")
