"""Every parser of outside data: a result or one line of error, never a traceback, a hang, or a write elsewhere.

TILECAST_FUZZ is the number of inputs for each parser; docs/security.md tells what came out of many.
"""

from __future__ import annotations

import ast
import io
import json
import os
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import hostile, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilecast.artifact import cells, names, store
from tilecast.artifact.graphs import read_graphs
from tilecast.artifact.kernels import read_kernels
from tilecast.artifact.labels import read_label_file
from tilecast.artifact.lock import read_lock
from tilecast.artifact.operators import read_operator_labels, read_operator_predictions
from tilecast.artifact.published import read_published
from tilecast.config import default_yaml, load_config
from tilecast.errors import InputError
from tilecast.evaluate.claims import load_claims, load_facts
from tilecast.evaluate.scenarios import read_scenarios
from tilecast.hardware.device import load_device
from tilecast.hardware.system import load_system
from tilecast.measure import bundle, describe
from tilecast.measure.models import read_study as read_live_study
from tilecast.models.registry import load_model
from tilecast.moe.study import load_study as load_moe_study
from tilecast.numa.record import load as load_record
from tilecast.numa.study import load_study as load_numa_study
from tilecast.parallel.cost import load_prices
from tilecast.parallel.study import load_study as load_parallel_study
from tilecast.predict.registry import PRETRAINED, load_predictor
from tilecast.tables import read, write

ROOT = Path(__file__).resolve().parents[2]
INPUTS = int(os.environ.get("TILECAST_FUZZ", "25"))
TRIED: Counter[tuple[str, str]] = Counter()


Reader = Callable[[Path], object]
Parser = tuple[str, str, str, Callable[[], list[bytes]], Reader]


def files(pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in sorted(ROOT.glob(pattern))]


def artifact(name: str, reader: Callable[[dict[str, bytes]], object], *beside: tuple[str, bytes]) -> Any:
    return lambda path: reader({name: path.read_bytes(), **dict(beside)})


LABEL = names.LABELS + "NVIDIA_L4/gpt2_large-train-1024-4.json"
PREDICTION = names.PREDICTIONS + "NVIDIA_L4/micro/gpt2_large-train-1024-4.json"
DEVICE = names.DEVICES + "NVIDIA_L4.json"
WHOLE = json.dumps({"num_layer": 36, "e2e_latency": 10.0, "fw_latency": 4.0, "bwall_latency": 6.0}).encode()
CARD = json.dumps(
    {"Device": "NVIDIA L4", "Dev_Mem": 24, "Mem_Bw": 300, "Num_Sm": 58, "Core_Per_SM": 128, "Freq": 2040,
     "L2Cache": 48, "SingleFLOPs": 30300}
).encode()  # fmt: skip
OPERATORS = b"op,latency,fw_latency,bw_latency,acc_latency,Name\nx,6,2,3,1,transformer_h_0_ln_1\nx,1,1,0,0,wte\n"
PREDICTED = OPERATORS.replace(b"op,latency", b"OpName,e2e_latency").replace(b"\nx", b"\nLinear")
GRAPH = b"""Name,OpName,FwOps,BwOps,AccOps,InputShapes,OutputShape
a_h_0,BMM,"[['BMM', (8, 512, 64, 512)]]","[['MEM', ((8, 2), (4,))]]",[],"[(8, 512), (512,)]","(8, 512)"
"""
USERS = b"device,model,mode,sequence_length,batch_size,option,latency_ms\nT4,m,inference,128,1,none,12.5\n"
KERNEL = names.KERNELS_TRAIN + "bmm/p2.1.0/Tesla P4.csv"
KERNELS = (
    b"OPName,B,M,N,K,Latency,Device,Kernel Name,Grid x,Grid y,Grid z,Block x,Block y,Block z\n"
    b"bmm,4,16,32,64,0.1,Tesla P4,gemm,1,1,1,128,1,1\nbmm,8,16,32,64,0.2,Tesla P4,gemm,2,1,1,128,1,1\n"
)


def zipped() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(LABEL, WHOLE)
        archive.writestr("aiconfigurator_core/systems/silicon_sample.csv", "id,mode\n1,agg\n")
    return [buffer.getvalue()]


def parquets() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write(read_kernels({KERNEL: KERNELS}), Path(folder, "x.parquet"), "kernels")
        return [Path(folder, "x.parquet").read_bytes()]


def configured(path: Path) -> object:
    """As Snakemake does: its YAML reader, then ours for what came out."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # Snakemake's own message
    return load_config(raw) if isinstance(raw, dict) else None


def trained(name: str, part: str) -> Parser:
    """One file of a predictor's weights, the others as shipped."""

    def parse(path: Path) -> object:
        with tempfile.TemporaryDirectory() as folder:
            for file in (PRETRAINED / name).iterdir():
                Path(folder, file.name).symlink_to(path if file.name == part else file)
            return load_predictor(name, folder)

    kind = "bytes" if part.endswith(".safetensors") else "json"
    modules = f"documents predict.{name}"
    return modules, kind, Path(part).suffix, files(f"resources/pretrained/{name}/{part}"), parse


def bundles() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        bundle.make({"artifact_validation/claims.csv": b"id\n1\n"}, Path(folder, "x.tar.gz"), "0")
        return [Path(folder, "x.tar.gz").read_bytes()]


PARSERS: dict[str, Parser] = {
    # name: (modules, made of, ending, sound files, reader)
    "configuration": ("config", "yaml", ".yaml", lambda: [default_yaml().encode()], configured),
    "device": ("documents hardware.device", "yaml", ".yaml", files("config/devices/*.yaml"), load_device),
    "device file of the artifact": ("documents hardware.device", "json", ".json", lambda: [CARD], load_device),
    "system": ("hardware.system", "yaml", ".yaml", files("config/systems/*.yaml"), load_system),
    "model": ("models.registry", "json", ".json", files("config/models/*.json"), load_model),
    "claims": ("evaluate.claims", "yaml", ".yaml", files("config/claims.yaml"), load_claims),
    "facts": ("evaluate.claims", "yaml", ".yaml", files("resources/published/citation.yaml"), load_facts),
    "scenarios": ("evaluate.scenarios", "yaml", ".yaml", files("config/studies/scenarios.yaml"), read_scenarios),
    "prices": ("parallel.cost", "yaml", ".yaml", files("config/prices.yaml"), load_prices),
    "study, several GPUs": ("parallel.study", "yaml", ".yaml", files("config/studies/multigpu.yaml"),
                            load_parallel_study),
    "study, experts": ("moe.study", "yaml", ".yaml", files("config/studies/moe*.yaml"), load_moe_study),
    "study, locality": ("numa.study", "yaml", ".yaml", files("config/studies/numa/*.yaml"), load_numa_study),
    "record, locality": ("numa.record", "json", ".json", files("resources/measured/numa/*.json"),
                         load_record),
    "study, this machine": ("measure.models", "yaml", ".yaml", files("config/studies/live.yaml"),
                            read_live_study),
    "description of a device": ("measure.describe", "json", ".json", lambda: [b'{"name": "this CPU"}'],
                                describe.read_description),
    "bundle": ("measure.bundle", "bytes", ".tar.gz", bundles, bundle.verify),
    "labels of a user": ("tables artifact.labels", "csv", ".csv", lambda: [USERS], read_label_file),
    "transcribed latencies": ("artifact.published", "csv", ".csv", files("resources/published/end_to_end.csv"),
                              read_published),
    "table, Parquet": ("tables", "bytes", ".parquet", parquets, lambda path: read(path, "kernels")),
    "lock": ("artifact.lock", "bytes", ".tsv", lambda: [b"path\tblob\tbytes\na/b\t" + b"a" * 40 + b"\t12\n"],
             read_lock),
    "archive": ("artifact.store", "bytes", ".zip", zipped, lambda path: store.load(path, names.ROOT)),
    "label": ("artifact.store", "json", ".json", lambda: [WHOLE], artifact(LABEL, cells.read_labels)),
    "prediction": ("artifact.store", "json", ".json", lambda: [WHOLE],
                   artifact(PREDICTION, cells.read_predictions)),
    "device table": ("artifact.store", "json", ".json", lambda: [CARD], artifact(DEVICE, cells.read_devices)),
    "operators": ("artifact.store", "csv", ".csv", lambda: [OPERATORS], artifact(
        LABEL.replace(".json", ".csv"), read_operator_labels, (LABEL, WHOLE))),
    "predicted operators": ("artifact.store", "csv", ".csv", lambda: [PREDICTED], artifact(
        PREDICTION.replace(".json", ".csv"), read_operator_predictions, (PREDICTION, WHOLE), (LABEL, WHOLE))),
    "operator graph": ("artifact.graphs artifact.store", "csv", ".csv", lambda: [GRAPH],
                       artifact(names.GRAPHS + "gpt2_large-train-1024-4.csv", read_graphs)),
    "kernels": ("artifact.store", "csv", ".csv", lambda: [KERNELS], artifact(KERNEL, read_kernels)),
    "weights of li": trained("li", "lines.json"),
    "weights of habitat": trained("habitat", "references.safetensors"),
    "weights of neusight": trained("neusight", "profiles.safetensors"),
    "networks of neusight": trained("neusight", "norm.safetensors"),
    "weights of tilecast": trained("tilecast", "experts.safetensors"),
    "record of tilecast": trained("tilecast", "record.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_a_hostile_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    _, kind, ending, sound, parse = PARSERS[name]
    seeds = sound()
    if not seeds:
        pytest.skip("no sound file of this kind is shipped")
    for number, seed in enumerate(seeds[:3]):
        path = tmp_path / f"sound{number}{ending}"
        path.write_bytes(seed)
        assert outcome(parse, path) == "read", "what is sound has to be read"
    tried: Counter[str] = Counter()

    @settings(
        max_examples=INPUTS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, 2**48))
    def fuzz(number: int) -> None:
        draw = random.Random(number)
        path = tmp_path / f"hostile{ending}"
        path.write_bytes(hostile(draw.choice(seeds), kind, draw))
        tried[outcome(parse, path)] += 1

    fuzz()
    print(f"| {name} | {tried.total()} | {tried['read']} | {tried['refused']} | 0 |")
    assert tried["refused"] > 0


# Calls that turn bytes into values, and modules that make them without being driven above, with the reason.
PARSING = {
    "yaml": {"load", "safe_load", "parse"}, "json": {"load", "loads"}, "csv": {"reader", "DictReader"},
    "pd": {"read_csv", "read_parquet", "read_json"}, "ast": {"literal_eval"}, "zipfile": {"ZipFile"},
    "tarfile": {"open"}, "parquet": {"read_table"},
    "": {"safe_open", "load_file", "read_yaml", "read_json", "parse_json", "read_tensors", "literal_eval"},
}  # fmt: skip
EXEMPT = {
    "artifact.aiconfigurator": "a wheel whose checksum is locked",
    "artifact.aiconfigurator_tables": "a wheel whose checksum is locked",
    "artifact.cells": "reads by artifact.store",
    "artifact.defects": "files whose blob ids are locked; the readers above have taken them before",
    "artifact.fetch": "writes",
    "artifact.operators": "reads by artifact.store",
    "evaluate.kernels": "a table of this run, read by tables",
    "evaluate.summaries": "files whose blob ids are locked",
    "report.results": "results of this run",
    "predict.fitting": "checkpoints of a training here",
    "predict.modern": "weights that are shipped; predict.registry tries those of a user",
    "evaluate.modern_serving": "a table that is shipped",
    "predict.calibrate": "results of a calibration here",
    "predict.tilecast_train": "checkpoints of a training here",
}


def parses(tree: ast.AST) -> bool:
    """Whether a module calls anything that turns bytes into values."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if called.attr in PARSING.get(called.value.id, ()):
                return True
        elif isinstance(called, ast.Name) and called.id in PARSING[""]:
            return True
    return False


def modules() -> dict[str, ast.AST]:
    """Every module of the library, parsed, without the packages of commands and tests."""
    source = ROOT / "src/tilecast"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(source.rglob("*.py"))
    }


# Stages whose own tests hold hostile input against their readers, and files that they ship or wrote themselves.
OWN_TESTS = ("measure", "moe", "numa", "parallel", "cli")


def test_every_parser_is_known_here() -> None:
    """A new module that parses has to be driven above, or to say why not."""
    driven = {module for modules_of, *_ in PARSERS.values() for module in modules_of.split()}
    found = {name for name, tree in modules().items() if parses(tree)}
    unknown = {name for name in found - driven - set(EXEMPT) if name.split(".")[0] not in OWN_TESTS}
    assert unknown == set(), "add it to PARSERS, or to EXEMPT with the reason"
    assert set(EXEMPT) <= set(modules()), "this module is gone"


FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "unsafe_load", "full_load"}


def test_nothing_read_can_become_code() -> None:
    """No pickle, no eval, no shell, no loader that constructs objects, no code from a model hub."""
    found = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            imported = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            imported |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
            if imported & FORBIDDEN_MODULES:
                found.append(f"{name}: import of {imported & FORBIDDEN_MODULES}")
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            # a method `.eval()` switches a torch module to inference
            if word in FORBIDDEN_CALLS and (isinstance(called, ast.Name) or word != "eval"):
                found.append(f"{name}: {word}()")
            if word == "load" and isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "torch":
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
