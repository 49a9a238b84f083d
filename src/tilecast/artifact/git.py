"""Fetch the locked files from a git repository: their blobs alone, without a working tree, within a set time."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tilecast.artifact.lock import Entry, verify
from tilecast.artifact.process import Unavailable, run
from tilecast.base.errors import InputError

CONNECT_S = 10.0
# Set inside git's own hooks, and would send our commands to another repository.
_PLACES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
_PORTS = {"https": 443, "http": 80, "git": 9418}


def _reachable(repository: str) -> None:
    """Raise Unavailable where the server's port does not answer soon; git itself would wait for minutes."""
    parts = urlsplit(repository)
    proxied = any(map(os.environ.get, ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY")))
    if parts.scheme not in _PORTS or not parts.hostname or proxied:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise Unavailable(f"{parts.hostname} cannot be reached ({error})") from None


def _git(
    *arguments: str, folder: Path, timeout_s: float, feed: bytes = b"", output: IO[bytes] | None = None
) -> bytes:
    """Standard output of a git command that never asks for a password; Unavailable where it fails."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _PLACES},
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": f"ssh -o BatchMode=yes -o ConnectTimeout={CONNECT_S:.0f}",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "30",
        "LC_ALL": "C",
    }
    command = ["git", "-c", "credential.helper=", "-c", "protocol.version=2", "-c", "gc.auto=0", *arguments]
    streams = {"stdout": output} if output else {}
    ended = run(command, f"git {arguments[0]}", timeout_s, feed, cwd=folder, env=environment, **streams)
    if ended.code != 0:
        raise Unavailable(f"git {arguments[0]} failed ({(ended.errors or ['no message'])[-1]})")
    return ended.output


def _tree(listing: bytes) -> dict[str, str]:
    """Path and blob id of every regular file in the output of `git ls-tree -r -z`."""
    found = {}
    for record in listing.split(b"\0"):
        about, _, path = record.partition(b"\t")
        fields = about.decode().split()
        if len(fields) == 3 and fields[0] in ("100644", "100755"):
            found[path.decode(errors="replace")] = fields[2]
    return found


def git_files(
    repository: str, commit: str, entries: list[Entry], folder: Path, *, timeout_s: float, attempts: int
) -> Iterator[tuple[str, bytes]]:
    """Every locked file of `commit`, verified; `folder` is scratch, emptied before and removed after.

    Unavailable where git or the server cannot serve; InputError where what it serves is not what the lock names.
    """
    try:
        for attempt in range(1, attempts + 1):
            shutil.rmtree(folder, ignore_errors=True)  # whatever an interrupted run left is not trusted
            folder.mkdir(parents=True)
            try:
                _reachable(repository)
                blobs = _fetch(repository, commit, entries, folder, timeout_s)
                break
            except Unavailable as error:
                if attempt == attempts:
                    raise
                print(f"git, attempt {attempt} of {attempts}: {error}")
        with blobs.open("rb") as stream:  # as `git cat-file --batch` writes them
            for entry in entries:
                header = stream.readline().split()
                if len(header) != 3 or header[1] != b"blob" or not header[2].isdigit():
                    raise InputError(entry.path, f"blob {entry.blob} did not arrive", "run again")
                data = stream.read(int(header[2]))
                stream.read(1)
                yield entry.path, verify(entry, data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(repository: str, commit: str, entries: list[Entry], folder: Path, timeout_s: float) -> Path:
    """Fetch the commit's trees, then the locked blobs and no other; the file that holds them all."""
    git = partial(_git, folder=folder, timeout_s=timeout_s)
    git("init", "--quiet", "--bare", ".")
    git("config", "remote.origin.url", repository)
    git("config", "remote.origin.promisor", "true")
    git("config", "remote.origin.partialclonefilter", "blob:none")
    git("fetch", "--quiet", "--depth=1", "--no-tags", "--filter=blob:none", "origin", commit)
    held = _tree(git("ls-tree", "-r", "-z", commit))
    for entry in entries:
        if held.get(entry.path) != entry.blob:
            raise InputError(
                entry.path,
                f"has git blob id {held.get(entry.path, 'none')} in {commit} where the lock has {entry.blob}",
                "artifact.commit and resources/artifact.lock.tsv must belong together",
            )
    wanted = "".join(f"{blob}\n" for blob in dict.fromkeys(entry.blob for entry in entries)).encode()
    # Asking for all blobs at once: left to itself git fetches missing ones one by one.
    options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--filter=blob:none", "--stdin")
    git("fetch", *options, "origin", feed=wanted)
    blobs = folder / "blobs"
    with blobs.open("wb") as output:
        git("cat-file", "--batch", feed="".join(f"{entry.blob}\n" for entry in entries).encode(), output=output)
    return blobs
