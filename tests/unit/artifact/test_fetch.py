"""Fetching: what each source serves is verified, bounded in time, and whole or not there."""

import http.server
import json
import os
import socket
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest

from tilecast.artifact.fetch import fetch, mirror_files, write_archive
from tilecast.artifact.lock import Entry, blob_id, read_lock
from tilecast.base.errors import InputError, TilecastError

LABEL = "scripts/asplos/label/X/bert_large-inf-512-8.json"
OTHER = "scripts/asplos/label/X/bert_large-inf-512-16.json"
FILES = {LABEL: b'{"e2e_latency": 1.0}\n', OTHER: b"\0binary\r\n"}
REPOSITORY = Path(__file__).resolve().parents[3]


def lay_out(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "lock.tsv"
    rows = [f"{name}\t{blob_id(data)}\t{len(data)}\n" for name, data in FILES.items()]
    path.write_text("path\tblob\tbytes\n" + "".join(rows))
    return path


@pytest.fixture
def repository(tmp_path):
    """A git repository with the files and one that the lock does not name; (folder, commit)."""
    root = lay_out(tmp_path / "served" / "artifact", {**FILES, "other/large.bin": b"x" * 100_000})

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=root, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "files")
    git("config", "uploadpack.allowFilter", "true")
    return root, git("rev-parse", "HEAD")


def run(lock, folder, **changes):
    arguments = {"repository": "file:///nowhere", "commit": "0" * 40, "sources": ["mirror", "git", "published"]}
    arguments |= {"mirror": None, "timeout_s": 20, "attempts": 1} | changes
    fetch(lock, folder / "a.zip", folder / "source.json", **arguments)
    record = json.loads((folder / "source.json").read_text())
    with zipfile.ZipFile(folder / "a.zip") as archive:
        return record, {name: archive.read(name) for name in archive.namelist()}


def test_the_repositorys_own_lock_is_well_formed():
    entries = read_lock(REPOSITORY / "resources/artifact.lock.tsv")
    assert len(entries) > 1800
    assert len({entry.path for entry in entries}) == len(entries)


def test_blob_ids_are_gits(repository):
    root, _ = repository
    listed = subprocess.run(["git", "hash-object", LABEL], cwd=root, check=True, capture_output=True, text=True)
    assert blob_id(FILES[LABEL]) == listed.stdout.strip()


def test_a_mirror_serves_what_it_has_and_the_rest_is_counted_absent(lock, tmp_path):
    mirror = lay_out(tmp_path / "mirror", {LABEL: FILES[LABEL], "stranger.txt": b"not in the lock"})
    record, files = run(lock, tmp_path, mirror=mirror)
    assert files == {LABEL: FILES[LABEL]}
    assert (record["source"], record["files_verified"], record["files_absent"]) == ("mirror", 1, 1)
    assert str(tmp_path) not in json.dumps(record)


def test_the_archive_depends_on_the_files_alone(tmp_path):
    for name in ("one.zip", "two.zip"):
        write_archive(tmp_path / name, FILES.items())
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (FILES[LABEL].replace(b"1", b"2"), "git blob id"),  # same size: corrupted, or another commit
        (FILES[LABEL][:5], "has 5 bytes where the pinned commit has 21"),
    ],
)
def test_a_mirror_at_another_commit_names_file_and_what_differs(lock, tmp_path, data, said):
    mirror = lay_out(tmp_path / "mirror", {**FILES, LABEL: data})
    with pytest.raises(InputError, match=LABEL) as caught:
        run(lock, tmp_path, mirror=mirror)
    assert said in str(caught.value)
    if "blob id" in said:
        assert blob_id(data) in str(caught.value)
        assert blob_id(FILES[LABEL]) in str(caught.value)
    assert not (tmp_path / "a.zip").exists()
    assert not list(tmp_path.glob(".a*"))


def test_a_link_out_of_the_mirror_is_refused(lock, tmp_path):
    mirror = lay_out(tmp_path / "mirror", {OTHER: FILES[OTHER]})
    secret = lay_out(tmp_path, {"secret": FILES[LABEL]}) / "secret"
    (mirror / LABEL).symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the mirror"):
        run(lock, tmp_path, mirror=mirror)


def test_a_pipe_in_the_mirror_does_not_hang(lock, tmp_path):
    mirror = lay_out(tmp_path / "mirror", {OTHER: FILES[OTHER]})
    os.mkfifo(mirror / LABEL)
    with pytest.raises(InputError, match="not a regular file"):
        run(lock, tmp_path, mirror=mirror)


def test_a_mirror_that_is_not_there_or_empty_stops(lock, tmp_path):
    with pytest.raises(InputError, match="not a directory"):
        run(lock, tmp_path, mirror=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of the artifact's files"):
        list(mirror_files(tmp_path / "empty", read_lock(lock)))


def test_git_over_file_takes_the_locked_files_and_leaves_nothing_behind(lock, repository, tmp_path):
    root, commit = repository
    left = tmp_path / "git.partial"
    left.mkdir()
    (left / "HEAD").write_text("what an interrupted run left")
    record, files = run(lock, tmp_path, repository=f"file://{root}", commit=commit)
    assert files == FILES
    assert record["source"] == "git"
    assert record["passed_over"] == [{"source": "mirror", "reason": "not configured"}]
    assert not left.exists()


def test_git_over_the_loopback(lock, repository, tmp_path):
    root, commit = repository
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["git", "daemon", "--reuseaddr", f"--base-path={root.parent}", "--export-all", "--listen=127.0.0.1"]
    with subprocess.Popen(
        [*command, f"--port={port}", "--log-destination=none"], start_new_session=True
    ) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            record, files = run(lock, tmp_path, repository=f"git://127.0.0.1:{port}/artifact", commit=commit)
        finally:
            os.killpg(server.pid, 15)
    assert files == FILES
    assert record["source"] == "git"


def test_no_credential_helper_and_no_prompt_is_ever_asked(lock, tmp_path, monkeypatch):
    """A server that wants a password: git's own configuration names a helper, which must not be run."""
    asked = tmp_path / "asked"
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\ntouch {asked}\necho username=me; echo password=secret\n")
    helper.chmod(0o755)
    configured = tmp_path / "gitconfig"
    configured.write_text(f"[credential]\n\thelper = {helper}\n[core]\n\taskPass = {helper}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configured))

    class Locked(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="locked"')
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/x.git"
        plain = subprocess.run(["git", "ls-remote", url], capture_output=True, env={**os.environ}, timeout=30)
        assert plain.returncode != 0 and asked.exists()  # git alone asks it
        asked.unlink()
        record, _ = run(lock, tmp_path, repository=url)
        server.shutdown()
    assert record["source"] == "published"
    assert not asked.exists()


def test_git_at_a_commit_the_lock_does_not_belong_to(lock, repository, tmp_path):
    root, commit = repository
    lock.write_text(lock.read_text().replace(blob_id(FILES[LABEL]), "a" * 40))
    with pytest.raises(InputError, match=f"{LABEL}.*{blob_id(FILES[LABEL])}.*{'a' * 40}"):
        run(lock, tmp_path, repository=f"file://{root}", commit=commit)
    assert not (tmp_path / "git.partial").exists()


def test_without_git_the_transcribed_figures_serve(lock, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    record, files = run(lock, tmp_path)
    assert files == {}
    assert record["source"] == "published"
    assert [one["reason"] for one in record["passed_over"]] == ["not configured", "not available"]


def test_an_unknown_commit_passes_on_to_the_next_source(lock, repository, tmp_path):
    record, _ = run(lock, tmp_path, repository=f"file://{repository[0]}", commit="1" * 40)
    assert record["source"] == "published"


def test_a_server_that_never_answers_is_left_after_the_timeout(lock, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begin = time.monotonic()
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/artifact"
        record, _ = run(lock, tmp_path, repository=url, timeout_s=1, attempts=2)
    assert record["source"] == "published"
    assert time.monotonic() - begin < 8
    assert not (tmp_path / "git.partial").exists()


def test_no_source_at_all_is_one_line(lock, tmp_path):
    with pytest.raises(TilecastError, match="no source of the artifact could serve"):
        run(lock, tmp_path, sources=["mirror"])


@pytest.mark.parametrize("row", ["../up\t" + "a" * 40, "/abs\t" + "a" * 40, "file\tnot-an-id", "alone"])
def test_a_lock_line_that_is_not_one_is_named(tmp_path, row):
    (tmp_path / "lock.tsv").write_text(f"path\tblob\tbytes\n{row}\n")
    with pytest.raises(InputError, match=r"lock\.tsv, line 2"):
        read_lock(tmp_path / "lock.tsv")


def test_a_file_larger_than_any_of_the_artifact_is_not_read(tmp_path):
    huge = lay_out(tmp_path / "mirror", {LABEL: b""}) / LABEL
    os.truncate(huge, 2**40)  # sparse
    with pytest.raises(InputError, match="more than any file"):
        list(mirror_files(tmp_path / "mirror", [Entry(LABEL, "a" * 40, None)]))
