"""Every parser of outside data: a result or one line of error, never a traceback, a hang, or a write elsewhere.

FUZZ_SECONDS is the time for all of them; docs/develop/security.md tells what came out of many hours' worth.
"""

from __future__ import annotations

import ast
import functools
import gc
import os
import re
import secrets
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from types import FrameType

import pytest
from fuzz import Sound, batch, fuzz, made, result, slug, sound_files
from fuzzing import outcome
from parsers import PARSERS, ROOT, WHOLE

from tilecast.artifact import cells, names, store
from tilecast.base.errors import InputError

CORPUS = ROOT / "tests/corpus"  # a folder a parser: what was found with `make fuzz` or by hand, and mended


@pytest.mark.parametrize("name", PARSERS)
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    _, ending, sound, parse = PARSERS[name]
    for number, seed in enumerate(sound()[:3]):
        path = tmp_path / f"sound{number}{ending}"
        path.write_bytes(seed)
        assert outcome(parse, path) == "read"


def test_what_was_found_once_is_read_or_refused(tmp_path: Path) -> None:
    parsers = {slug(name): name for name in PARSERS}
    found = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]
    assert found
    assert {
        str(path.relative_to(CORPUS)): what
        for path in found
        if (what := result(parsers[path.parent.name], path.read_bytes(), tmp_path)) not in ("read", "refused")
    } == {}


@pytest.mark.slow
def test_hostile_files_are_read_or_refused(tmp_path: Path) -> None:
    """Other ones in every run; a finding is named, and tests/support/fuzz.py makes it again."""
    seed, sound = secrets.randbits(48), sound_files()
    tries, findings = fuzz(float(os.environ.get("FUZZ_SECONDS", "60")), seed, sound, ROOT / "build/fuzz")
    print(f"seed {seed}: {sum(count.total() for count in tries.values())} inputs for {len(tries)} parsers")
    assert [finding.name for finding in findings] == [], "python tests/support/fuzz.py --replay NAME shows it"
    assert sum(count["refused"] for count in tries.values()) > sum(count["read"] for count in tries.values())


def test_what_is_no_answer_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback, a hang, too much memory, a write elsewhere, an end of the process: each is seen."""

    def parse(path: Path) -> object:
        match int(path.read_text()) % 6:
            case 0:
                raise LookupError("a traceback")
            case 1:
                return bytearray(3 << 30)
            case 2:
                return time.sleep(60)
            case 3:
                while True:
                    pass
            case 4:
                return Path("/tmp/tilecast-fuzz-elsewhere").unlink(missing_ok=True)
        os._exit(9)

    monkeypatch.setitem(PARSERS, "bad", ("bytes", ".txt", lambda: [b"x"], parse))
    monkeypatch.setattr("fuzz.made", lambda name, sound: name.partition(":")[2].encode())
    monkeypatch.setattr("fuzzing.SECONDS", 1)
    monkeypatch.setattr("fuzzing.WAITING", 2)
    sound = Sound({"bad": [b"x"]}, [])
    expected = ("LookupError", "MemoryError", "TimeoutError", "TimeoutError", "AssertionError", "ended (9)")
    for number, said in enumerate(expected):
        count, (found,) = batch("bad", [number], sound, 1)
        assert (found.name, count.total()) == (f"bad:{number}", 0)
        assert said in found.what


def test_an_input_is_the_same_whenever_it_is_made() -> None:
    sound = sound_files()
    for parser in ("device", "labels of a user", "run, its table", "weights of habitat", "archive", "bundle"):
        made_once = [made(f"{parser}:{number}", sound) for number in range(20)]
        assert made_once == [made(f"{parser}:{number}", sound) for number in range(20)]
        assert len(set(made_once)) > 10


# Calls that turn bytes into values, by what stands before the dot; "" is a bare name, "." any object.
PARSING = {
    "yaml": {"load", "safe_load", "parse"}, "json": {"load", "loads"}, "csv": {"reader", "DictReader"},
    "pd": {"read_csv", "read_parquet", "read_json", "read_table", "read_sql"},
    "np": {"load", "loadtxt", "fromfile", "genfromtxt"}, "ast": {"literal_eval"}, "zipfile": {"ZipFile"},
    "tarfile": {"open"}, "gzip": {"open", "decompress"}, "sqlite3": {"connect"}, "tomllib": {"load", "loads"},
    "parquet": {"read_table", "ParquetFile"}, "pq": {"read_table", "ParquetFile"},
    "": {"safe_open", "load_file", "read_yaml", "read_json", "parse_json", "read_tensors", "literal_eval",
         "read_text", "open"},
    ".": {"read_text", "read_bytes", "open"},
}  # fmt: skip
# Functions that call one of these on something that nobody outside can have made, and why; `*`: all of a module.
EXEMPT = {
    "the checksum or blob id of every file is locked": """
        artifact.aiconfigurator:verified artifact.aiconfigurator_tables:Archive.__init__
        artifact.aiconfigurator_tables:Archive.kernels artifact.aiconfigurator_tables:serving_table
        artifact.defects:_device_facts artifact.defects:_model artifact.defects:_summary_backward
        artifact.fetch:mirror_files artifact.git:git_files
        evaluate.serving:shape_of evaluate.summaries:compare_summaries
        predict.baselines.published_weights:_check""",
    "shipped with the project": """
        api.known:_models base.code_graph:_names base.code_graph:CodeGraph.digest hardware.device:device_names
        hardware.power:_shares evaluate.ablation:without evaluate.constants:literals evaluate.constants:unexplained
        graph.learn:Writer.file graph.source:_file graph.source:_versions
        present.constants:constants
        artifact.defects:read_reference multigpu.collectives:_trained multigpu.collectives_fit:train
        multigpu.shipped_shares:*
        predict.physics.expert_kernel:* present.page.render:asset serving.answer:_ratios""",
    "made by this run": """
        cli.moe:_print evaluate.kernels:trained_on evaluate.generations:groups_of measure.bundle:_json
        measure.bundle:collect present.paper.pdf:write_pdf tables.results:_state
        present.page.results:Results.json present.page.results:data_uri
        present.page.sections.paper_tables:context present.page.sections.points:points""",
    "a checkpoint of a training here": "predict.train.network:_resume predict.train.experts:Judged.load",
    "the kernel's or the driver's own words": """
        measure.cpu:_last_level_bytes measure.cpu:proc
        measure.cuda:Cuda.__init__ measure.cuda:_kineto locality.placement:allowed locality.placement:pages_by_node
        locality.trouble:_may_profile
        locality.worker:_lines base.run_lock:_holders base.run_lock:descendants""",
    "what its own worker, or an earlier run, wrote": """
        locality.runner:_call locality.runner:_once locality.runner:execute locality.worker:main
        base.run_lock:_read base.code_graph:_read base.code_graph:CodeGraph._once
        measure.campaign:taken_over""",
    "the text of an option, which test_fuzz_commands.py drives": "cli.moe:_input",
    "a folder of a user's, file by file; the reader of the files is driven": "cli.train:_folder",
}


def _parses(call: ast.Call) -> bool:
    """Whether a call turns bytes into values; opening a file to write is none."""
    words = [
        part.value
        for part in [*call.args, *(word.value for word in call.keywords)]
        if isinstance(part, ast.Constant)
    ]
    if any(isinstance(word, str) and re.fullmatch(r"[wax]b?(:gz)?", word) for word in words):
        return False
    called = call.func
    if isinstance(called, ast.Attribute):
        owner = called.value.id if isinstance(called.value, ast.Name) else ""
        if owner in PARSING and owner:
            return called.attr in PARSING[owner]
        return called.attr in PARSING["."] and owner != "os"
    return isinstance(called, ast.Name) and called.id in PARSING[""]


def parsing_functions() -> set[str]:
    """`module:function` of everything in the library that parses."""
    found = set()

    def visit(node: ast.AST, module: str, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if isinstance(child, ast.Call) and _parses(child):
                found.add(f"{module}:{'.'.join(names)}")
            visit(child, module, (*names, child.name) if inner else names)  # type: ignore[attr-defined]

    for module, tree in modules().items():
        visit(tree, module, ())
    return found


def driven_functions() -> set[str]:
    """`module:function` of everything in the library that runs while sound files are read."""
    source, seen = str(ROOT / "src/tilecast") + "/", set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(source):
            seen.add(frame.f_code)

    gc.unfreeze()  # what conftest.py has put out of sight
    for known in gc.get_objects():
        if isinstance(known, functools._lru_cache_wrapper) and known.__module__.startswith("tilecast."):
            known.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        for _, ending, sound, parse in PARSERS.values():
            path = Path(folder, f"sound{ending}")
            path.write_bytes(sound()[0])
            sys.setprofile(watch)
            try:
                parse(path)
            finally:
                sys.setprofile(None)
    return {
        f"{code.co_filename.removeprefix(source).removesuffix('.py').replace('/', '.')}:"
        f"{code.co_qualname.replace('.<locals>', '')}"
        for code in seen
    }


@pytest.mark.slow
def test_every_function_that_parses_is_driven() -> None:
    """What parses has to run when the parsers above read sound files, or to be exempt for a reason."""
    exempt = [name for listed in EXEMPT.values() for name in listed.split()]
    whole = {name for name in exempt if name.endswith(":*")}
    found = {name for name in parsing_functions() if f"{name.partition(':')[0]}:*" not in whole}
    driven = driven_functions()
    assert sorted(found - driven - set(exempt)) == [], "drive it in PARSERS, or say in EXEMPT why not"
    assert sorted(set(exempt) - whole - found) == [], "these no longer parse anything"
    assert sorted(set(exempt) & driven) == [], "these are driven, and need no exemption"
    assert len(exempt) == len(set(exempt))


@functools.cache
def modules() -> dict[str, ast.AST]:
    """Every module of the library, parsed."""
    source = ROOT / "src/tilecast"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(source.rglob("*.py"))
    }


FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "unsafe_load", "full_load"}


def of(tree: ast.Module, module: str) -> set[str]:
    """What is used of a module."""
    parts = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {part.attr for part in parts if ast.unparse(part.value) == module}


def test_nothing_read_can_become_code() -> None:
    """No pickle, no eval, no shell, no loader that constructs objects, no code from a model hub."""
    found = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
                continue
            imported = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            imported |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
            if imported == {"pickle"} and of(tree, "pickle") == {"UnpicklingError"}:
                continue  # an error to catch
            if imported & FORBIDDEN_MODULES:
                found.append(f"{name}: import of {imported & FORBIDDEN_MODULES}")
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            # a method `.eval()` switches a torch module to inference
            if word in FORBIDDEN_CALLS and (isinstance(called, ast.Name) or word != "eval"):
                found.append(f"{name}: {word}()")
            torchs = word == "load" and ast.unparse(called) == "torch.load"
            if torchs and not any(ast.unparse(keyword) == "weights_only=True" for keyword in node.keywords):
                found.append(f"{name}: torch.load()")
            for keyword in node.keywords:
                true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if true and keyword.arg in {"shell", "allow_pickle", "trust_remote_code"}:
                    found.append(f"{name}: {keyword.arg}=True")
    assert found == []


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(names.ROOT + "zeros", bytes(1 << 20))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")  # what it says to unpack to: 4 GB
    path.write_bytes(data)
    with pytest.raises(InputError, match="more than any artifact"):
        store.load(path, names.ROOT)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/cron.d/x", "C:\\x", "a\0b", "con\n.json", "-rf"])
def test_hostile_names_in_an_archive_write_nothing(name: str, tmp_path: Path) -> None:
    """Nothing is ever unpacked to disk: a name can only be looked up, or not be what the artifact's are."""
    path = tmp_path / "names.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(names.LABELS + name, WHOLE)
    assert outcome(lambda path: cells.read_labels(store.load(path, names.ROOT)), path) in ("read", "refused")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["names.zip"]
