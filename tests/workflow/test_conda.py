"""The workflow once more from scratch, with `--use-conda`: end to end, and to the same bytes.

The smoke workflow; where every draw is made, the default one.

No conda is needed: a stand-in solves and installs from a channel made here of the installed wheels. A script run
by Snakemake can also see the packages of Snakemake's own environment, last on its path: so it is not enough that
jobs succeed. Every interpreter of the channel tells what it loaded, and from where.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conda_channel import PYPI_NAMES, dependencies, normal
from conda_standin import write_commands
from copies import ROOT, Copy, Run, literal, without_results
from imports import third_party

pytestmark = pytest.mark.slow

ENV_FILES = sorted((ROOT / "envs").glob("*.yaml"))


@dataclass(frozen=True)
class Rule:
    """A rule that runs a script, as its text says."""

    name: str
    script: str
    env_file: str | None


def script_rules(root: Path) -> list[Rule]:
    """Every rule below `root` that runs a script."""
    found = []
    for file in sorted((root / "workflow/rules").glob("*.smk")):
        pieces = re.split(r"^ *(?:rule|checkpoint)( \w+)?:$", file.read_text(), flags=re.MULTILINE)
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
            made = re.search(r'^ +name:\s+f"(\w+)\{.*\}"$', body, re.MULTILINE)  # one of a loop's
            name = name.strip() if name else rf"{made[1]}\w+"
            script = re.search(r'^ +script:\s+"\.\./scripts/(.*)"$', body, re.MULTILINE)
            conda = re.search(r'^ +conda:\s+"\.\./\.\./envs/(.*)"$', body, re.MULTILINE)
            if script:
                found.append(Rule(name, script[1], conda[1] if conda else None))
    return found


def called(command: list[str], variables: dict[str, str] | None = None) -> str:
    """What a command prints; it has to succeed."""
    done = subprocess.run(command, env={**os.environ, **(variables or {})}, capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}: {command}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def conda() -> Iterator[dict[str, str]]:
    """The variables under which `conda` is the stand-in and conda-forge the channel made here."""
    with tempfile.TemporaryDirectory(prefix="conda-") as folder:
        root = Path(folder)
        channel = [str(root / "channels/conda-forge"), str(root / "wheels"), *map(str, ENV_FILES)]
        called([sys.executable, str(ROOT / "tests/support/conda_channel.py"), *channel])
        yield {
            "PATH": f"{write_commands(root / 'conda')}{os.pathsep}{os.environ['PATH']}",
            "CONDA_CHANNEL_ALIAS": f"{(root / 'channels').as_uri()}/",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(root / "wheels"),
        }


def traced(copy: Copy, *arguments: str) -> tuple[Run, list[dict[str, Any]]]:
    """Run snakemake with conda; what it did, and what each script's interpreter had loaded at its end."""
    folder = copy.root / "traces"
    folder.mkdir()
    run = copy.snakemake("--use-conda", *arguments, CONDA_JOB_TRACE=str(folder))
    records = [json.loads(file.read_text()) for file in folder.iterdir()]
    # Snakemake runs `plot.py` as `tmp1x2y.plot.py`; other records are of its own questions, and of pip.
    jobs = [(re.fullmatch(r"tmp\w+\.(.+\.py)", record["script"]), record) for record in records]
    return run, [{**record, "script": named[1]} for named, record in jobs if named]


def imports(file: Path) -> set[str]:
    """Top-level names of everything a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@functools.cache
def imported() -> set[str]:
    """Top-level names of everything this project imports."""
    files = [*(ROOT / "src/tilecast").rglob("*.py"), *(ROOT / "workflow/scripts").glob("*.py")]
    return set().union(*map(imports, files))


def borrowed(record: dict[str, Any]) -> set[str]:
    """Modules this project imports that a job took from Snakemake's environment, for want of its own.

    What packages require of each other is the solver's business, and what they merely try to import is theirs.
    """
    hosts = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return {name for name, file in record["modules"].items() if name in imported() and file.startswith(hosts)}


@dataclass(frozen=True)
class Anew:
    """A workflow run from scratch in another folder, time zone and locale, with other hashes and conda."""

    copy: Copy
    run: Run
    records: list[dict[str, Any]]  # what each script's interpreter had loaded
    first: Copy  # where it ran before


@pytest.fixture(scope="module", params=["smoke", pytest.param("default", marks=pytest.mark.exhaustive)])
def anew(request: pytest.FixtureRequest, conda: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Anew:
    elsewhere = conda | {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    target = tmp_path_factory.mktemp("conda") / "elsewhere"
    if request.param == "smoke":
        first = request.getfixturevalue("undisturbed")[0]
        copy = literal(target, **elsewhere)
    else:
        first = request.getfixturevalue("finished")
        copy = without_results(first, target, **elsewhere)
    return Anew(copy, *traced(copy), first)


def test_every_script_runs_in_a_conda_environment(anew: Anew) -> None:
    prefixes = {}
    for record in anew.records:
        prefixes.setdefault(record["script"], set()).add(Path(record["prefix"]).parent)
    followed = {name for name in ("crate", "manifest") if f"rule {name}:" in anew.run.output}
    expected = {
        rule.script
        for rule in script_rules(anew.copy.root)
        if any(re.fullmatch(rule.name, ran) for ran in anew.run.rules | followed)
    }
    assert expected
    assert prefixes == {script: {anew.copy.root / ".snakemake/conda"} for script in expected}
    library = {record["modules"]["tilecast"] for record in anew.records}
    assert library == {str(anew.copy.root / "src/tilecast/__init__.py")}


def test_no_script_borrows_a_package(anew: Anew) -> None:
    assert {record["script"]: borrowed(record) for record in anew.records if borrowed(record)} == {}


def test_a_second_run_from_scratch_gives_the_same_bytes(anew: Anew) -> None:
    second, first = anew.copy.results(), anew.first.results()
    first.pop("README.md", None)  # not made by a run
    assert sorted(second) == sorted(first)
    assert [name for name in first if second[name] != first[name]] == []
    assert any(name.startswith("figures/") for name in first) and first["tables/mape.csv"]


PROBE_RULE = """
rule probe:
    output: "results/probe.txt"
    conda: "envs/probe.yaml"
    script: "probe.py"
"""
PROBE = "import pandas, yaml\nopen(snakemake.output[0], 'w').write(pandas.__file__ + yaml.__file__)\n"


@pytest.mark.parametrize("missing", [{"yaml"}, pytest.param(set(), marks=pytest.mark.exhaustive)])
def test_a_package_missing_from_an_environment_file_is_noticed(
    missing: set[str], conda: dict[str, str], tmp_path: Path
) -> None:
    analysis = (ROOT / "envs/analysis.yaml").read_text().splitlines(keepends=True)
    kept = [line for line in analysis if not (missing and "pyyaml" in line)]
    for name, text in {"Snakefile": PROBE_RULE, "probe.py": PROBE, "envs/probe.yaml": "".join(kept)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    _, records = traced(Copy(tmp_path, conda), "probe")
    assert [borrowed(record) for record in records] == [missing]


@pytest.fixture(scope="module")
def interpreter(conda: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Install an environment file, once; its interpreter."""
    folder = tmp_path_factory.mktemp("environments")

    def install(name: str) -> Path:
        prefix = folder / name
        if not prefix.exists():
            command = ["conda", "env", "create", "--file", str(ROOT / "envs" / name), "--prefix", str(prefix)]
            called(command, conda)
        return prefix / "bin/python"

    return install


FIND = """
import importlib.util, json, sys
specs = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
print(json.dumps([name for name, spec in specs.items() if not spec or not spec.origin.startswith(sys.prefix)]))
"""


@pytest.mark.parametrize("env_file", [path.name for path in ENV_FILES])
def test_an_environment_holds_what_its_scripts_import(env_file: str, interpreter: Callable[[str], Path]) -> None:
    """Also for rules that the default workflow does not run."""
    scripts = {rule.script for rule in script_rules(ROOT) if rule.env_file == env_file}
    needed = set().union(*(third_party(ROOT / "workflow/scripts" / script) for script in scripts))
    find = [str(interpreter(env_file)), "-I", "-c", FIND, *sorted(needed)]
    assert json.loads(called(find)) == []


def test_every_script_names_an_environment() -> None:
    assert [rule.name for rule in script_rules(ROOT) if not rule.env_file] == []
    assert len(script_rules(ROOT)) == sum(
        len(re.findall(r"^ +script:$", file.read_text(), re.MULTILINE))
        for file in (ROOT / "workflow/rules").glob("*.smk")
    )


@pytest.mark.parametrize("env_file", ENV_FILES, ids=lambda path: path.stem)
def test_environments_have_the_versions_of_the_lock(env_file: Path) -> None:
    text = "\n".join((ROOT / "requirements" / name).read_text() for name in ("lock.txt", "torch.txt"))
    locked = {normal(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", text)}
    conda_specs, pip_specs = dependencies(env_file)
    pins = dict(re.split(" ?==?", spec) for spec in conda_specs + pip_specs if re.match(r"[\w-]+ ?=", spec))
    assert len(pins) >= len(conda_specs) + len(pip_specs) - 2  # all but python, and pip itself
    assert pins == {name: locked.get(PYPI_NAMES.get(name, name)) for name in pins}
