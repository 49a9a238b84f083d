"""Put everything that goes with a version into one archive: `python release.py`, for `make release`.

The source of the commit as git knows it (with PKG-INFO, so that pip takes it for a source distribution), the wheel
built from that source, the bill of materials, what cites and describes the project and, where a whole run has
finished, its results: the bundle, the description of the run, the report with its appendix. The same commit and
results give the same bytes. What was fetched is not in it.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tilecast.measure.bundle import collect, make, pack, sums
from tilecast.tables.results import NAME, problems

DESCRIBING = ("CITATION.cff", "codemeta.json", ".zenodo.json", "CHANGELOG.md", "LICENSE")
RESULTS = ("ro-crate-metadata.json", "manifest.csv", "report", "tables/tables.pdf", "evaluation/claims.csv")


def git(root: Path, *words: str) -> bytes:
    """What git says in a folder."""
    return subprocess.run(["git", *words], cwd=root, check=True, stdout=subprocess.PIPE).stdout


def wheel(source: bytes) -> tuple[str, bytes]:
    """Name and bytes of the wheel built from an archive of the source."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(source)) as archive:
            archive.extractall(folder, filter="data")
        words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "0"}
        subprocess.run([sys.executable, "-m", "pip", *words, f"{folder}/source"], check=True, env=environment)
        [path] = Path(folder).glob("*.whl")
        return path.name, path.read_bytes()


def sources(root: Path) -> dict[str, bytes]:
    """The source distribution and the wheel of the commit."""
    name, built = wheel(git(root, "archive", "--format=tar", "--prefix=source/", "HEAD"))
    with zipfile.ZipFile(io.BytesIO(built)) as held:
        [metadata] = [held.read(one).decode() for one in held.namelist() if one.endswith(".dist-info/METADATA")]
    stem = "-".join(name.split("-")[:2])
    virtual = f"--add-virtual-file={stem}/PKG-INFO:{metadata}"
    archive = git(root, "archive", "--format=tar.gz", f"--prefix={stem}/", virtual, "HEAD")
    return {name: built, f"{stem}.tar.gz": archive}


def results(folder: Path, measured: Path) -> dict[str, bytes]:
    """What of a finished run goes along; a run whose files are no longer as it made them is refused."""
    if not (folder / NAME).is_file():
        return {}
    if wrong := problems(folder):
        raise SystemExit(f"{folder / wrong[0][0]}: {wrong[0][1]}; `tilecast check {folder}` says what to do")
    found = [folder / one for one in RESULTS]
    files = [
        path for one in found for path in ([one] if one.is_file() else sorted(one.rglob("*"))) if path.is_file()
    ]
    kept = {f"results/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch, "tilecast-results.tar.gz")
        make(collect(folder, {"replayed": measured, "live": folder / "measured"}), bundle)
        return kept | {bundle.name: bundle.read_bytes()}


def main(root: Path) -> int:
    """Write the archive below `root`/build."""
    if changed := git(root, "status", "--porcelain").decode().splitlines():
        raise SystemExit(f"{changed[0][3:]}: is not committed; a version is made of a commit")
    made = sources(root)
    kept = results(root / "results", root / "resources/measured")
    files = made | kept | {name: (root / name).read_bytes() for name in DESCRIBING}
    files["sbom.cdx.json"] = (root / "build/sbom.cdx.json").read_bytes()
    target = root / "build" / next(name for name in made if name.endswith(".gz")).replace(".tar", "-release.tar")
    target.write_bytes(pack(files | {"SHA256SUMS": sums(files)}))
    without = "" if kept else "; without results, for none are finished (make reproduce)"
    print(f"{target}: {len(files) + 1} files{without}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
