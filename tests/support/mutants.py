"""How many small faults the unit tests notice: `python tests/support/mutants.py [--count N] [--seed N]`.

A seeded sample of changes (mutate.py) of the rooms below is applied one by one to a copy of the working tree. For
each only those tests run that execute the changed statement, of its room and of files that import the module, the
shortest first, until one fails; which those are is recorded in one run of them before. What came out is written as
it comes, and a run that was cut short goes on from there; `--again` tries what survived once more, after tests
were written for it. What survived and is known to change nothing that a test could see is listed, with the reason,
in tests/mutants.csv; the score is what was killed of all the others.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from copies import ROOT, copy_files
from forks import Ended, forked
from mutate import Mutant, of_rooms

ROOMS = ["predict", "multigpu", "serving", "evaluate", "moe", "locality", "artifact", "base"]
EQUIVALENT = ROOT / "tests/mutants.csv"
KEY = ("path", "function", "kind", "statement", "old", "new")
GOAL = 0.9
SECONDS = 120  # for all tests of one mutant; one that nothing has noticed by then has survived
MEMORY = 12 << 30
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not gpu and not browser"]
PRELOADED = ["hypothesis", "numpy", "pandas", "pyarrow.parquet", "pydantic", "scipy.optimize", "scipy.stats",
             "torch", "transformers", "yaml", "safetensors.numpy"]  # fmt: skip


class Recorder:
    """A plugin of pytest: which tests execute the changed statements, and how long each test takes."""

    def __init__(self, tree: Path, sample: dict[Mutant, str], target: Path) -> None:
        self.tree, self.test, self.setting_up, self.began = f"{tree}/", "", False, 0.0
        self.wanted: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.imported: dict[str, list[str]] = defaultdict(list)  # of a file: what runs as it is imported
        self.tests: dict[str, set[str]] = defaultdict(set)  # of a mutant
        self.files: dict[str, set[str]] = defaultdict(set)  # of a mutant that a fixture of several tests executes
        self.seconds: dict[str, float] = {}  # of the tests that pass
        self.failed: list[str] = []
        for mutant, name in sample.items():
            first, last = mutant.lines
            for line in range(first, last + 1) if last else ():
                self.wanted[mutant.path][line].append(name)
            if not last:
                self.imported[mutant.path].append(name)
        self.codes: dict[int, dict[int, list[str]]] = {}
        self.held: list[CodeType] = []
        self.target = target

    def of(self, code: CodeType) -> dict[int, list[str]]:
        """The mutants to look for in a function, by line; 0 stands for the call itself."""
        path = code.co_filename.removeprefix(self.tree)
        wanted = self.wanted.get(path, {})
        found = {line: wanted[line] for line in {line for *_, line in code.co_lines() if line} & set(wanted)}
        return found | ({0: self.imported[path]} if path in self.imported else {})

    def trace(self, frame: FrameType, event: str, _: object) -> object:
        code = frame.f_code
        if not code.co_filename.startswith(self.tree):
            return None
        if (found := self.codes.get(id(code))) is None:  # not by the code itself, whose hash takes long
            found = self.codes[id(code)] = self.of(code)
            self.held.append(code)
        if not found or not self.test:
            return None
        self.saw(found, 0)

        def lines(frame: FrameType, event: str, _: object) -> object:
            self.saw(found, frame.f_lineno)
            return lines

        return lines

    def saw(self, found: dict[int, list[str]], line: int) -> None:
        for at in found.get(line, ()):
            self.tests[at].add(self.test)
            if self.setting_up:
                self.files[at].add(self.test.partition("::")[0])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """What an earlier test left in a cache is computed anew, so that this one is seen to execute it."""
        for name, module in list(sys.modules.items()):
            for value in list(vars(module).values()) if name.startswith("tilecast.") else ():
                if isinstance(value, _lru_cache_wrapper):
                    value.cache_clear()
        self.test, self.setting_up, self.began = item.nodeid, True, time.process_time()
        sys.settrace(self.trace)  # type: ignore[arg-type]
        threading.settrace(self.trace)  # type: ignore[arg-type]
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.setting_up = False
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self.seconds[nodeid] = round(time.process_time() - self.began, 2)
        self.test = ""

    def pytest_sessionfinish(self) -> None:
        """Keep the tests of each mutant; what fails without any change is no test of one."""
        known = {test: seconds for test, seconds in self.seconds.items() if test not in self.failed}
        for name, files in self.files.items():
            self.tests[name] |= {test for test in known if test.partition("::")[0] in files}
        tests = {name: sorted(set(tests) & set(known)) for name, tests in self.tests.items()}
        self.target.write_text(json.dumps({"tests": tests, "seconds": known, "failed": self.failed}))


class Chosen:
    """A plugin of pytest: only these tests, in this order; each is told to the pipe as it begins."""

    def __init__(self, tests: list[str], pipe: int) -> None:
        self.rank, self.pipe = {test: rank for rank, test in enumerate(tests)}, pipe

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda item: self.rank[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        os.write(self.pipe, f"{nodeid}\n".encode())


def in_child(tree: Path, tests: list[str], plugin: object, output: Path) -> int:
    """Within a forked process: run these tests of the tree with the plugin; pytest's exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(tree)
    ours = {str(ROOT / "src"), str(ROOT / "tests/support")}
    sys.path[:] = [str(tree / "src"), *(path for path in sys.path if path not in ours)]
    for name in ("copies", "mutate"):  # those of the tree from here on
        sys.modules.pop(name, None)
    os.environ["PYTHONPATH"] = str(tree / "src")
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    stop = [] if isinstance(plugin, Recorder) else ["-x"]
    return int(
        pytest.main([*OPTIONS, *stop, "--rootdir", str(tree), f"--basetemp={output}.d", *tests], plugins=[plugin])
    )


def tests_in_a_fork(tree: Path, tests: list[str], plugin: Any, output: Path, seconds: float) -> Ended:
    """The same in a process of its own."""
    ended = forked(lambda pipe: in_child(tree, tests, plugin(pipe), output), seconds)
    shutil.rmtree(f"{output}.d", ignore_errors=True)
    return ended


def record(tree: Path, room: str, sample: dict[Mutant, str], target: Path) -> dict[str, list[str]]:
    """Which tests execute each mutant, the shortest first: those of its room, and of files that import its module.

    A file's tests run when it has changed.

    Where none does, in this process at least, all of them; after the others, where it runs at an import.
    """
    kept = json.loads(target.read_text()) if target.exists() else {}
    modules = "|".join({re.escape(".".join(Path(mutant.path).with_suffix("").parts[1:])) for mutant in sample})
    imports = re.compile(rf"^\s*(from|import) ({modules})\b(?!\.)", re.MULTILINE)
    files = {
        path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((tree / "tests/unit").rglob("test_*.py"))
        if path.parent.name == room or imports.search(path.read_text())
    }
    if changed := [file for file, checksum in files.items() if kept.get(file, {}).get("checksum") != checksum]:
        fresh = target.with_suffix(".new")
        tests_in_a_fork(tree, changed, lambda _: Recorder(tree, sample, fresh), target.with_suffix(".txt"), 3600)
        found = json.loads(fresh.read_text())
        fresh.unlink()
        for file in changed:
            own = {test: took for test, took in found["seconds"].items() if test.partition("::")[0] == file}
            tests = {name: [test for test in tests if test in own] for name, tests in found["tests"].items()}
            kept[file] = {"checksum": files[file], "seconds": own, "tests": tests}
        target.write_text(json.dumps(kept))
        if found["failed"]:
            print("these fail without any change, and are left out:", *found["failed"], sep="\n  ")
    seconds = {test: took for file in files for test, took in kept[file]["seconds"].items()}

    def ordered(mutant: Mutant, name: str) -> list[str]:
        execute = {test for file in files for test in kept[file]["tests"].get(name, ())}
        rest = set(seconds) - execute if not (execute and mutant.lines[1]) else set()
        return [
            test for tests in (execute, rest) for test in sorted(tests, key=lambda test: (seconds[test], test))
        ]

    return {name: ordered(mutant, name) for mutant, name in sample.items()}


def chosen(everything: list[Mutant], count: int, seed: int) -> dict[Mutant, str]:
    """The sample and its names: checksums of each change's words, so that an edit leaves most of it as it was."""
    met: Counter[tuple[str, ...]] = Counter()
    names = {}
    for mutant in everything:
        met[key(mutant)] += 1
        names[mutant] = hashlib.sha256(repr((seed, key(mutant), met[key(mutant)])).encode()).hexdigest()
    return {mutant: names[mutant] for mutant in sorted(sorted(everything, key=names.__getitem__)[:count])}


def key(mutant: Mutant) -> tuple[str, ...]:
    """A mutant's words: what tests/mutants.csv names it by."""
    return mutant.path, mutant.function, mutant.kind, mutant.statement, mutant.old, mutant.new


def tried(tree: Path, mutant: Mutant, tests: list[str], stamp: int, output: Path, most: float) -> tuple[str, str]:
    """Apply a mutant, run its tests, take it back: (killed or survived, by which test or why)."""
    path = tree / mutant.path
    before = path.read_bytes()
    try:
        path.write_bytes(mutant.applied(before))
        os.utime(path, (stamp, stamp))  # an age of its own, so that no compiled file of another is taken
        files = sorted({test.partition("::")[0] for test in tests})
        words, code, late = tests_in_a_fork(tree, files, lambda pipe: Chosen(tests, pipe), output, most)
    finally:
        path.write_bytes(before)
        os.utime(path, (stamp + 1, stamp + 1))
    begun = words.split("\n")[:-1]
    last = begun[-1] if begun else "collection"
    if late:
        return "survived", f"{len(begun)} tests begun within {most:.0f} s"
    if code == 0:
        return "survived", f"{len(begun)} tests pass"
    return "killed", last


class Known:
    """What came of mutants, by name: kept in a file as it comes, for a run that goes on."""

    def __init__(self, path: Path, again: bool) -> None:
        self.path = path
        rows = list(csv.reader(path.open(newline=""))) if path.exists() else []
        self.outcomes = {name: (what, by) for name, what, by in rows}  # the last one counts
        if again:
            self.outcomes = {name: found for name, found in self.outcomes.items() if found[0] != "survived"}

    def add(self, name: str, what: str, by: str) -> None:
        """Keep an outcome."""
        self.outcomes[name] = what, by
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow((name, what, by))


def judge(
    tree: Path, tests: dict[Mutant, list[str]], names: dict[Mutant, str], known: Known, seconds: float
) -> None:
    """Try mutants, keep what comes out, and print a line of each."""
    with EQUIVALENT.open(newline="") as file:
        reasons = {tuple(row[name] for name in KEY): row["reason"] for row in csv.DictReader(file)}
    for number, (mutant, chosen) in enumerate(tests.items()):
        what, by = "equivalent", reasons.get(key(mutant), "")
        if not by:
            stamp = 10**9 + 2 * number
            what, by = tried(tree, mutant, chosen, stamp, known.path.with_suffix(f".{os.getpid()}"), seconds)
        known.add(names[mutant], what, by)
        print(line(mutant, what, by), flush=True)


def line(mutant: Mutant, what: str, by: str) -> str:
    """What came of a mutant, in a line."""
    changed = f"{mutant.kind} | {mutant.old!r} -> {mutant.new!r}"
    return f"{what} | {mutant.path}:{mutant.line} {mutant.function} | {changed} | {by}"


def summed(sample: dict[Mutant, str], known: Known) -> int:
    """Print a table of rooms, those that survived, and the score; 1 where it is below the goal."""
    met: dict[str, Counter[str]] = defaultdict(Counter)
    survived = []
    for mutant, name in sample.items():
        what, by = known.outcomes.get(name, ("not tried", ""))
        met[mutant.path.split("/")[2]][what] += 1
        survived += [line(mutant, what, by)] if what == "survived" else []
    kinds = ("killed", "survived", "equivalent", "not tried")
    print("\n| room | faults |", " | ".join(kinds), "|\n|---|---|" + "---|" * len(kinds))
    together = sum(met.values(), Counter[str]())
    for room, count in {**met, "together": together}.items():
        print(f"| {room} | {count.total()} |", " | ".join(str(count[kind]) for kind in kinds), "|")
    print("", *survived, sep="\n")
    score = together["killed"] / max(together["killed"] + together["survived"], 1)
    print(f"\nscore: {100 * score:.1f} % killed of those tried; goal: {100 * GOAL:.0f} %")
    return int(score < GOAL or together["not tried"] > 0)


def main() -> int:
    """Try what is not tried yet of the sample, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/mutants", help="for the copy and the records")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, choices=ROOMS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all tests of one mutant")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tree = folder / f"tree-{os.getpid()}"
    for name in PRELOADED:
        importlib.import_module(name)
    copy_files(tree)
    for words in (["init", "-q"], ["add", "-A"]):  # some tests ask git for the files
        subprocess.run(["git", *words], cwd=tree, check=True)
    sample = chosen(of_rooms(tree, ROOMS), options.count, options.seed)
    known = Known(folder / f"{options.seed}.csv", options.again)
    try:
        for room in options.rooms:
            own = {mutant: name for mutant, name in sample.items() if mutant.path.split("/")[2] == room}
            if left := [mutant for mutant, name in own.items() if name not in known.outcomes]:
                tests = record(tree, room, own, folder / f"tests-{options.seed}-{options.count}-{room}.json")
                judge(tree, {mutant: tests[own[mutant]] for mutant in left}, sample, known, options.seconds)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return summed(sample, known)


if __name__ == "__main__":
    sys.exit(main())
