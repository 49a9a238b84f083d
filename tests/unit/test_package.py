"""What goes with a version: the files that cite and describe it agree, and its archive has the same bytes."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import citation
import pytest
import release
from copies import ROOT, copy_files

import tilecast
from tilecast.measure.bundle import pack, sums


def test_what_cites_the_project_is_written_from_one_file() -> None:
    """`make metadata` renews both."""
    assert {name: (ROOT / name).read_text() for name in citation.files()} == citation.files()


def test_version_and_date_are_the_same_everywhere() -> None:
    cited, project = citation.citation(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {tilecast.__version__, project["version"]} == {cited["version"]}
    assert tilecast.__released__ == cited["date-released"]
    assert project["license"] == cited["license"]
    latest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest and latest.groups() == (cited["version"], cited["date-released"])


def test_an_archive_depends_on_its_files_alone(tmp_path: Path) -> None:
    files = {"b.txt": b"two", "a/a.txt": b"one"}
    assert pack(files) == pack(dict(sorted(files.items())))
    (tmp_path / "x.tar.gz").write_bytes(pack(files | {"SHA256SUMS": sums(files)}))
    shutil.unpack_archive(tmp_path / "x.tar.gz", tmp_path / "x", filter="data")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "x", check=True)


def repository(folder: Path) -> Path:
    """A repository with one commit of the working tree; its own date is not the other's."""
    copy_files(folder)
    (folder / "build").mkdir()
    (folder / "build/sbom.cdx.json").write_text("{}")
    same = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env={**release.os.environ, **same})
    return folder


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_same_commit_gives_the_same_release(tmp_path: Path) -> None:
    archives = []
    for name in ("one", "two"):
        root = repository(tmp_path / name)
        release.main(root)
        [path] = (root / "build").glob("*-release.tar.gz")
        archives.append(path)
    one, two = (hashlib.sha256(path.read_bytes()).hexdigest() for path in archives)
    assert one == two
    stem = f"tilecast-{tilecast.__version__}"
    with tarfile.open(archives[0]) as whole:
        names = whole.getnames()
        with tarfile.open(fileobj=whole.extractfile(f"{stem}.tar.gz")) as source:
            assert {f"{stem}/PKG-INFO", f"{stem}/Snakefile", f"{stem}/pyproject.toml"} <= set(source.getnames())
    assert {"SHA256SUMS", "CITATION.cff", ".zenodo.json", "sbom.cdx.json"} <= set(names)
    assert [name for name in names if name.endswith(".whl")] == [f"{stem}-py3-none-any.whl"]
    (tmp_path / "one/README.md").write_text("changed")
    with pytest.raises(SystemExit, match="is not committed"):
        release.main(tmp_path / "one")
