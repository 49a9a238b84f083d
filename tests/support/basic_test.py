"""A reviewer's first test: does the package work here? `python basic_test.py [--write]`, for `make basic-test`.

Four checks in under a minute, without a network: the packages are those pinned; forecasts have not moved; steps of
the workflow run from nothing on the figures transcribed from the paper; the audit of each claim that their tables
decide gives the recorded verdict. The verdicts go to build/basic-test.json; the exit code is 1 if one is "failed".
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import lock
from copies import ROOT
from packaging.markers import Marker
from packaging.utils import canonicalize_name
from smoke import arguments, smoke

from tilecast.evaluate.audit import audit
from tilecast.evaluate.claims import DATASETS, TABLES, Fact, Figures, load_claims, load_facts
from tilecast.tables.io import read

RECORD = ROOT / "resources/reference/basic_test.csv"
FOLDER, VERDICTS = ROOT / "build/basic-test", ROOT / "build/basic-test.json"
DECIDING = ("devices", "errors", "labels", "predictions")  # tables that the smoke workflow makes
CLAIMS, FACTS = ROOT / "config/claims.yaml", ROOT / "resources/published/citation.yaml"


def packages() -> str:
    """What is not installed as the lock pins it."""
    installed = {canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()}
    pins = lock.read(lock.FOLDER / "lock.txt")
    here = {name: pin for name, pin in pins.items() if not pin.marker or Marker(pin.marker).evaluate()}
    odd = [name for name, pin in here.items() if installed.get(name) != pin.version]
    return "; ".join(f"{name} {installed.get(name, 'missing')}, not {here[name].version}" for name in odd)


def forecasts() -> str:
    """Which forecasts are not those recorded, but for rounding."""
    words = ["-q", "-p", "no:cacheprovider", str(ROOT / "tests/unit/predict/test_pinned.py")]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout[-2000:] if done.returncode else ""


def workflow() -> str:
    """Why the smoke workflow did not run from nothing to its end."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    copy = smoke(FOLDER, PIP_NO_INDEX="1")
    words = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments()]
    done = subprocess.run(words, cwd=copy.root, env=copy.variables(), capture_output=True, text=True)
    return done.stderr[-2000:] if done.returncode else ""


def verdicts(root: Path) -> dict[str, str]:
    """The verdict on each claim that the tables DECIDING below `root` and the recorded facts decide."""
    frames = {name: read(root / DATASETS[name], TABLES[name]) for name in DECIDING}
    claims = load_claims(CLAIMS)
    decided = [
        claim
        for claim in claims.claims
        if isinstance(claim.query, Fact) or (isinstance(claim.query, Figures) and claim.query.dataset in frames)
    ]
    found, _ = audit(claims.model_copy(update={"claims": decided}), frames, load_facts(FACTS), str(CLAIMS))
    return dict(zip(found["id"], found["verdict"], strict=True))


def recorded() -> dict[str, str]:
    """The verdicts that these tables gave when they were recorded."""
    with RECORD.open(newline="") as stream:
        return {row["id"]: row["verdict"] for row in csv.DictReader(stream)}


def moved(found: dict[str, str]) -> str:
    """The claims whose verdict is not the recorded one."""
    before = recorded()
    names = sorted(name for name in before.keys() | found if before.get(name) != found.get(name))
    return "; ".join(f"{name}: {found.get(name)}, recorded {before.get(name)}" for name in names)


def run(checks: Mapping[str, Callable[[], str]], target: Path) -> int:
    """Print the verdict of each check, which returns what is wrong, write all to `target`; the exit code."""
    told: dict[str, dict[str, object]] = {}
    for name, check in checks.items():
        began = time.monotonic()
        try:
            why = check()
        except Exception as error:  # whatever goes wrong is the verdict
            why = f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - began, 1)
        told[name] = {"verdict": "failed" if why else "passed", "seconds": seconds, "why": why}
        print(f"{told[name]['verdict']}  {seconds:5.1f} s  {name}" + f": {why}" * bool(why), flush=True)
    failed = any(one["why"] for one in told.values())
    whole = {"schema": "tilecast.basic-test/1", "verdict": "failed" if failed else "passed", "checks": told}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"{whole['verdict']}: {target}")
    return int(failed)


CHECKS = {
    "packages are as pinned": packages,
    "forecasts are as recorded": forecasts,
    "the workflow runs": workflow,
    "claims have the recorded verdicts": lambda: moved(verdicts(FOLDER)),
}

if __name__ == "__main__":
    code = run(CHECKS, VERDICTS)
    if sys.argv[1:] == ["--write"]:
        lines = "".join(f"{name},{verdict}\n" for name, verdict in sorted(verdicts(FOLDER).items()))
        RECORD.write_text("id,verdict\n" + lines)
    sys.exit(code)
