"""Pin what pyproject.toml asks for, with hashes, in requirements/: `python lock.py [--upgrade]`, for `make lock`.

Resolving is left to uv (requirements/tools.txt), for all interpreters at once; of what it found, the wheels for
Linux and the interpreters that the project supports are kept, so that nothing has to be built.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker, default_environment
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
TARGETS = [(python, machine) for python in PYTHONS for machine in MACHINES]

# Not installed from the lock. torch is in torch.txt, and CUDA's libraries are its builds' own business.
APART = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
# Required by name, imported by nothing, and only to be had as source code, whose setup.py pip would run.
WITHOUT_WHEELS = {"connection-pool": "snakemake"}

HEADS = {
    "lock.txt": "The workflow, torch's requirements, the report and the tests; torch itself: torch.txt.",
    "cluster.txt": "SLURM, Kubernetes and S3 storage for Snakemake, with what they require beyond lock.txt.\n"
    "# botocore wants an older python-dateutil than lock.txt has; matplotlib takes either.",
    "cluster-test.txt": "The S3 server that tests/cluster runs, with what it requires beyond the other two.",
    "docs.txt": "The documentation as a site.",
    "package.txt": "Checks of RO-Crates, and the bill of materials.\n"
    "# roc-validator wants an older rich than lock.txt has.",
    "tools.txt": "What `make lock` runs.",
}


class Pin(NamedTuple):
    """One package of a lock: its version, where it is wanted ("": everywhere), and the SHA-256 of its wheels."""

    version: str
    marker: str
    hashes: tuple[str, ...]


def read(path: Path) -> dict[str, Pin]:
    """The pins of a file that this script wrote, by normalised name; a line of another form is refused."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace(" \\\n    ", " ")
    pins: dict[str, Pin] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([\w.-]+)==([\w.+!]+)(?: ; (.+?))?((?: --hash=sha256:[0-9a-f]{64})+)", line)
        if not match or canonicalize_name(match[1]) in pins:
            raise ValueError(f"{path}: {line!r} is not a pinned package with hashes, or its second mention")
        pins[canonicalize_name(match[1])] = Pin(
            match[2], match[3] or "", tuple(re.findall(r"sha256:(\w+)", match[4]))
        )
    return pins


def write(path: Path, pins: dict[str, Pin]) -> None:
    """One package a paragraph, in the form that pip, uv and pip-audit read."""
    head = f"# {HEADS[path.name]}\n# Written by `make lock`: see docs/develop/dependencies.md.\n"
    lines = [
        " \\\n    ".join(
            [f"{name}=={pin.version}" + f" ; {pin.marker}" * bool(pin.marker)]
            + [f"--hash=sha256:{digest}" for digest in pin.hashes]
        )
        for name, pin in sorted(pins.items())
    ]
    path.write_text(head + "\n".join(lines) + "\n")


def fits(wheel: str, python: str, machine: str) -> bool:
    """Whether a wheel of this file name can be installed there, on a Linux with glibc (musl has other builds)."""
    minor = int(python.partition(".")[2])
    own = {f"cp3{minor}"}
    abi3 = {f"cp3{older}" for older in range(2, minor + 1)}
    pure = {"py3", f"py3{minor}", *abi3}
    platform = re.compile(rf"any|(many)?linux.*_{machine}")
    return any(
        platform.fullmatch(tag.platform)
        and (
            (tag.interpreter in own and tag.abi in own)
            or (tag.interpreter in abi3 and tag.abi == "abi3")
            or (tag.interpreter in pure and tag.abi == "none")
        )
        for tag in parse_wheel_filename(wheel)[3]
    )


def wanted(marker: str, python: str, machine: str) -> bool:
    """Whether a requirement with this marker applies on Linux with this interpreter and processor."""
    if not marker:
        return True
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return Marker(marker).evaluate(environment)


def resolve(
    arguments: list[str], more: list[str], constraints: dict[str, Pin], known: dict[str, Pin]
) -> dict[str, Pin]:
    """What uv finds for all TARGETS: `constraints` hold, `known` versions are kept where they still do.

    `arguments` go to `uv pip compile`; `more` are requirements beside those they name.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints_file, excludes, settled, found = (
            f"{folder}/{name}" for name in ("constraints.txt", "excludes.txt", "settled.txt", "pylock.toml")
        )
        Path(constraints_file).write_text("".join(f"{name}=={pin.version}\n" for name, pin in constraints.items()))
        Path(excludes).write_text("\n".join(WITHOUT_WHEELS))
        Path(settled).write_text("".join(f"{name}=={pin.version}\n" for name, pin in known.items()))
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", PYTHONS[0]]
        command += ["--only-binary", ":all:", "--excludes", excludes, "-c", constraints_file, *arguments, "-"]
        # Twice: only in pip's format does uv keep versions of the file it writes, only the other names wheels.
        for output in (["-o", settled], ["-c", settled, "--format", "pylock.toml", "-o", found]):
            subprocess.run(
                [*command, *output],
                cwd=ROOT,
                input="\n".join(more),
                text=True,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        packages = tomllib.loads(Path(found).read_text())["packages"]
    pins = {}
    for package in packages:
        marker = package.get("marker", "")
        targets = [target for target in TARGETS if wanted(marker, *target)]
        if not targets or APART.fullmatch(package["name"]):
            continue
        wheels = {wheel["url"].rpartition("/")[2]: wheel["hashes"]["sha256"] for wheel in package["wheels"]}
        for target in targets:
            if not any(fits(wheel, *target) for wheel in wheels):
                name, version = package["name"], package["version"]
                raise SystemExit(f"{name} {version}: no wheel for Python {target[0]} on {target[1]}")
        hashes = {digest for wheel, digest in wheels.items() if any(fits(wheel, *target) for target in targets)}
        only_some = "" if targets == TARGETS else marker
        pins[package["name"]] = Pin(package["version"], only_some, tuple(sorted(hashes)))
    return pins


def main() -> None:
    """Resolve and write the files: three that are installed together, and those of environments apart."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--upgrade", action="store_true", help="take the newest versions, not those pinned now")
    upgrade = options.parse_args().upgrade

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = {name: read(FOLDER / name) if not upgrade and (FOLDER / name).exists() else {} for name in HEADS}
    torch = (FOLDER / "torch.txt").read_text()

    extras = [word for extra in ("workflow", "torch", "report", "test") for word in ("--extra", extra)]
    more = [*project["build-system"]["requires"], torch]
    lock = resolve(["pyproject.toml", *extras], more, {}, known["lock.txt"])
    write(FOLDER / "lock.txt", lock)

    shared = {name: pin for name, pin in lock.items() if name != "python-dateutil"}
    cluster = resolve(["pyproject.toml", "--extra", "cluster"], [], shared, known["cluster.txt"])
    beyond = {name: pin for name, pin in cluster.items() if name not in shared}
    write(FOLDER / "cluster.txt", beyond)

    shared |= beyond
    server = resolve(["--group", "cluster-test"], [], shared, known["cluster-test.txt"])
    write(FOLDER / "cluster-test.txt", {name: pin for name, pin in server.items() if name not in shared})
    alike = {name: pin for name, pin in lock.items() if name != "rich"}
    for group in ("docs", "package"):
        found = resolve(["--group", group], [], alike, known[f"{group}.txt"])
        write(FOLDER / f"{group}.txt", found)
    write(FOLDER / "tools.txt", resolve([], ["uv", "packaging"], {}, known["tools.txt"]))


if __name__ == "__main__":
    main()
