"""What is installed is what requirements/ pins: by hash, from wheels, under compatible licences."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import licences
import lock
import pytest
from copies import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKED = lock.read(lock.FOLDER / "lock.txt")
CLUSTER = {**LOCKED, **lock.read(lock.FOLDER / "cluster.txt")}
SERVER = {**CLUSTER, **lock.read(lock.FOLDER / "cluster-test.txt")}
[TORCH] = re.findall(r"(?m)^torch==([\d.]+)$", (lock.FOLDER / "torch.txt").read_text())


def unmet(requirements: list[str], pins: dict[str, lock.Pin]) -> list[str]:
    """The requirements, as far as they apply on a supported machine, that no pin satisfies."""
    versions = {"torch": TORCH, **{name: pin.version for name, pin in pins.items()}}
    asked = [Requirement(text) for text in requirements]
    return [
        str(requirement)
        for requirement in asked
        if any(lock.wanted(str(requirement.marker or ""), *target) for target in lock.TARGETS)
        and not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0.dev0"))
        and canonicalize_name(requirement.name) not in lock.WITHOUT_WHEELS
    ]


def test_the_pins_satisfy_the_project() -> None:
    project = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    for extra in ("workflow", "torch", "report", "test"):
        project += EXTRAS[extra]
    assert unmet(project, LOCKED) == []
    assert unmet(EXTRAS["cluster"], CLUSTER) == []
    assert unmet(PROJECT["dependency-groups"]["cluster-test"], SERVER) == []
    for group in ("docs", "package"):
        assert unmet(PROJECT["dependency-groups"][group], lock.read(lock.FOLDER / f"{group}.txt")) == []
    assert unmet(["numpy<1"], LOCKED) == ["numpy<1"]


def test_the_pins_satisfy_each_other() -> None:
    """So that `pip --no-deps` leaves nothing out; extras that are asked for are resolved by `make lock`."""
    asked = [
        text
        for name in ("torch", *LOCKED)
        for text in distribution(name).requires or []
        if "extra ==" not in text and not re.match(r"(nvidia|cuda|triton)\b", text)
    ]
    assert len(asked) > 100
    assert unmet(asked, LOCKED) == []


def test_each_package_installed_is_pinned_at_its_version() -> None:
    installed = {canonicalize_name(found.name): found.version.partition("+")[0] for found in distributions()}
    pinned = {name: pin.version for name, pin in LOCKED.items()} | {"torch": TORCH}
    assert {name: installed.get(name) for name in pinned} == pinned


def test_what_is_left_out_is_imported_by_nothing() -> None:
    for name, parent in lock.WITHOUT_WHEELS.items():
        assert name not in LOCKED
        sources = [Path(str(file.locate())) for file in distribution(parent).files or [] if file.suffix == ".py"]
        assert len(sources) > 50
        module = name.replace("-", "_")
        found = re.compile(rf"^\s*(import|from)\s+{module}\b|import_module\(.{module}", re.MULTILINE)
        assert [path for path in sources if found.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("wheel", "fitting"),
    [
        ("a-1-py3-none-any.whl", lock.TARGETS),
        ("a-1-py2.py3-none-any.whl", lock.TARGETS),
        ("a-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", [("3.12", "x86_64")]),
        ("a-1-cp312-abi3-manylinux_2_28_aarch64.whl", [("3.12", "aarch64"), ("3.13", "aarch64")]),
        ("a-1-cp38-abi3-linux_x86_64.whl", [(python, "x86_64") for python in lock.PYTHONS]),
        ("a-1-py3-none-manylinux1_x86_64.whl", [(python, "x86_64") for python in lock.PYTHONS]),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", []),
        ("a-1-cp314-cp314-manylinux_2_28_x86_64.whl", []),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", []),
        ("a-1-cp312-cp312-macosx_11_0_arm64.whl", []),
        ("a-1-cp312-cp312-win_amd64.whl", []),
    ],
)
def test_which_wheels_are_kept(wheel: str, fitting: list[tuple[str, str]]) -> None:
    assert [target for target in lock.TARGETS if lock.fits(wheel, *target)] == fitting


def test_a_lock_is_written_as_it_is_read(tmp_path: Path) -> None:
    for name in lock.HEADS:
        lock.write(tmp_path / name, lock.read(lock.FOLDER / name))
        assert (tmp_path / name).read_text() == (lock.FOLDER / name).read_text()


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.4.6",
        "numpy>=2.4.6 --hash=sha256:" + "0" * 64,
        "numpy==2.4.6 --hash=md5:" + "0" * 32,
        "numpy @ file:///numpy.whl --hash=sha256:" + "0" * 64,
        "--index-url=https://example.org",
        f"numpy==1 --hash=sha256:{'0' * 64}\nNumPy==2 --hash=sha256:{'0' * 64}",
    ],
)
def test_a_lock_without_hashes_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match="not a pinned package with hashes"):
        lock.read(tmp_path / "lock.txt")


def wheel(folder: Path) -> str:
    """A small package `leaf` 1.0 as a wheel in the folder; its SHA-256."""
    path = folder / "leaf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        files = {
            "leaf.py": "",
            "leaf-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n",
            "leaf-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for name, text in files.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in files)
        archive.writestr("leaf-1.0.dist-info/RECORD", record + "leaf-1.0.dist-info/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_setup_refuses_what_does_not_have_its_hash(tmp_path: Path) -> None:
    """`make setup` as it is, with a lock of one package and a folder in the place of the index."""
    digest = wheel(tmp_path)
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/torch.txt").write_text("torch==0.0.1\n")

    def setup(line: str) -> str:
        (tmp_path / "requirements/lock.txt").write_text(line + "\n")
        done = subprocess.run(
            ["make", "setup", f"PYTHON={sys.executable}"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
            | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert not (tmp_path / ".venv/.ready").exists()
        return done.stderr

    def installed() -> bool:
        return any((tmp_path / ".venv/lib").glob("python*/site-packages/leaf.py"))

    assert "DO NOT MATCH THE HASHES" in setup(f"leaf==1.0 --hash=sha256:{'0' * 64}")
    assert "Hashes are required" in setup("leaf==1.0")
    assert not installed()
    assert "torch==0.0.1" in setup(f"leaf==1.0 --hash=sha256:{digest}"), "this far, then no torch"
    assert installed()


def test_nothing_is_installed_unchecked_but_torch() -> None:
    """Every call of pip in the Makefile."""
    text = (ROOT / "Makefile").read_text()
    assert "LOCKED := --require-hashes --no-deps --only-binary :all:\n" in text
    calls = re.findall(r"^\t.*(?:\$\(PIP\)|-m pip install) ?(.*)", text, re.MULTILINE)
    assert len(calls) == 5
    unchecked = [call for call in calls if "$(LOCKED)" not in call]
    assert unchecked == ["-r requirements/torch.txt", "--no-deps --no-build-isolation --editable ."]


LICENCES = {
    name: (version, licence)
    for name, version, licence in re.findall(
        r"^\| ([\w-]+) \| (\S+) \| (.+) \|$", (ROOT / "docs/develop/licences.md").read_text(), re.MULTILINE
    )
    if name not in ("package", "file")
}


def test_licences_of_all_pins_are_listed() -> None:
    """`make licences` renews the page."""
    assert {name: version for name, (version, _) in LICENCES.items()} == licences.pinned()
    assert licences.vendored() in (ROOT / "docs/develop/licences.md").read_text()
    installed = licences.rows(distributions(), set(LOCKED) | {"torch"})
    assert {name: LICENCES[name] for name in installed if name != "python-dateutil"} == {
        name: row for name, row in installed.items() if name != "python-dateutil"
    }


def test_licences_are_known_and_compatible() -> None:
    listed = {part for _, licence in LICENCES.values() for part in licence.split(", ")}
    assert {part for part in listed if not licences.compatible(part)} == set()
    assert [name for name in ("GPL-3.0-only", "not stated", "MIT or so") if licences.compatible(name)] == []
