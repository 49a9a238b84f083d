"""Every parser of outside data with sound files of its kind: what test_fuzz.py makes hostile versions of."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tilecast.artifact import cells, names, store
from tilecast.artifact.aiconfigurator import read_lock as read_wheel_lock
from tilecast.artifact.graphs import read_graphs
from tilecast.artifact.kernels import read_kernels
from tilecast.artifact.labels import read_label_file
from tilecast.artifact.lock import read_lock
from tilecast.artifact.operators import read_operator_labels, read_operator_predictions
from tilecast.artifact.published import read_published
from tilecast.base.config import default_yaml, load_config
from tilecast.base.documents import read_json
from tilecast.base.paths import WEIGHTS
from tilecast.cli.train import read_kernels as read_training_kernels
from tilecast.evaluate import experts
from tilecast.evaluate.claims import load_claims, load_facts
from tilecast.evaluate.scenarios import read_scenarios
from tilecast.evaluate.selectable import known_cells
from tilecast.graph.tracer import trace
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.locality.analysis import analyse, analyse_folder
from tilecast.locality.record import load as load_record
from tilecast.locality.record import tables as record_tables
from tilecast.locality.study import load_study as load_numa_study
from tilecast.locality.sweep import changed
from tilecast.locality.topology import read_topology
from tilecast.measure import bundle, describe
from tilecast.measure.models import read_study as read_live_study
from tilecast.measure.store import load_run
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import LAYER_KEYS, load_model
from tilecast.moe import names as moe_names
from tilecast.moe.model import moe_model
from tilecast.moe.stream import from_file as routed
from tilecast.moe.study import load_study as load_moe_study
from tilecast.multigpu.layout import Layout, legal
from tilecast.planner.study import load_study as load_parallel_study
from tilecast.predict import calibrate
from tilecast.predict.registry import load_predictor
from tilecast.predict.weights import read_record, write_record
from tilecast.serving.load import read_trace
from tilecast.tables.declared.artifact import KERNELS as KERNELS_TABLE
from tilecast.tables.io import read, write
from tilecast.tables.results import problems

ROOT = Path(__file__).resolve().parents[2]


Reader = Callable[[Path], object]
Parser = tuple[str, str, Callable[[], list[bytes]], Reader]  # made of, ending, sound files, reader


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
        write(read_kernels({KERNEL: KERNELS}), Path(folder, "x.parquet"), KERNELS_TABLE)
        return [Path(folder, "x.parquet").read_bytes()]


def configured(path: Path) -> object:
    """As Snakemake does: its YAML reader, then ours for what came out."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # Snakemake's own message
    return load_config(raw) if isinstance(raw, dict) else None


def trained(name: str, part: str) -> Parser:
    """One file of a predictor's weights, the others as shipped; the record holds checksums of what is there."""
    shipped = read_record(WEIGHTS / name)

    def parse(path: Path) -> object:
        with tempfile.TemporaryDirectory() as folder:
            for file in (WEIGHTS / name).iterdir():
                Path(folder, file.name).symlink_to(path if file.name == part else file)
            if part != "record.json":
                Path(folder, "record.json").unlink()
                write_record(Path(folder), shipped, shipped["sha256"])
            return load_predictor(name, folder)

    kind = "safetensors" if part.endswith(".safetensors") else "json"
    return kind, Path(part).suffix, files(f"src/tilecast/data/weights/{name}/{part}"), parse


MANIFEST_OF_RESULTS = b"path,size_bytes,sha256\na/x.csv,2,%s\ngone.csv,1,%s\nstudies/*,,\n" % (
    b"a" * 64,
    b"b" * 64,
)


def manifested(path: Path) -> object:
    """A folder of results held against this manifest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").mkdir()
        Path(folder, "a/x.csv").write_text("a\n")
        Path(folder, "manifest.csv").symlink_to(path)
        return problems(Path(folder))


def bundles() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        bundle.make({"artifact_validation/claims.csv": b"id\n1\n"}, Path(folder, "x.tar.gz"))
        return [Path(folder, "x.tar.gz").read_bytes()]


RUN = ROOT / "resources/measured/CPU_AMD_EPYC_1t"
INSIDE = {f"measured/here/{name}": (RUN / name).read_bytes() for name in
          ("description.json", "kernels-001.json", "kernels-001.parquet")}  # fmt: skip


def bundled(name: str) -> Reader:
    """A bundle with one file replaced, its manifest made anew, imported."""

    def parse(path: Path) -> object:
        with tempfile.TemporaryDirectory() as folder:
            bundle.make({**INSIDE, f"measured/here/{name}": path.read_bytes()}, Path(folder, "x.tar.gz"))
            return bundle.import_measured(Path(folder, "x.tar.gz"), Path(folder, "kept"))

    return parse


def measured_run(path: Path) -> object:
    """A run whose record says the checksum that its hostile table has."""
    record = json.loads(INSIDE["measured/here/kernels-001.json"])
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(record))
    return load_run(path, "kernels")


def members(path: Path) -> object:
    """A bundle whose members have the names and kinds that a list says; nothing may land outside its folder."""
    listed = read_json(path)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "x.tar.gz")
        named = (
            [entry if isinstance(entry, list) else [entry] for entry in listed if entry]
            if isinstance(listed, list)
            else []
        )
        entries = [(str(entry[0]), str(entry[-1])[:1] or "0") for entry in named]
        held = {name: INSIDE.get(name, b"{}") for name, _ in entries}
        crate = {"@graph": [{"@type": "File", "@id": name} for name in held]}
        held[bundle.CRATE] = json.dumps(crate).encode()
        sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in held.items())
        held[bundle.MANIFEST] = sums.encode(errors="surrogatepass")
        with tarfile.open(archive, "w:gz") as packed:
            for name, kind in [*entries, (bundle.CRATE, "0"), (bundle.MANIFEST, "0")]:
                made = tarfile.TarInfo(name)
                made.type, made.linkname = kind.encode("ascii", "replace"), "/etc/passwd"
                made.size = len(held[name]) if made.type == tarfile.REGTYPE else 0
                packed.addfile(made, io.BytesIO(held[name]))
        return bundle.import_measured(archive, Path(folder, "kept"))


# An export of Nsight Systems as JSON: table -> [columns, rows]; `views` are made of the SQL they are given.
EXPORT: dict[str, Any] = {
    "CUPTI_ACTIVITY_KIND_KERNEL": [["start", "end", "correlationId"], [[100, 200, 1], [300, 450, 2]]],
    "CUPTI_ACTIVITY_KIND_MEMCPY": [
        ["start", "end", "bytes", "copyKind", "srcKind", "dstKind", "correlationId"],
        [[10, 90, 4096, 1, 1, 2, 3], [460, 500, 4096, 2, 2, 1, 4]],
    ],
    "CUPTI_ACTIVITY_KIND_RUNTIME": [["start", "end", "globalTid", "correlationId"],
                                    [[95, 99, 7, 1], [290, 295, 7, 2], [5, 8, 7, 3], [455, 458, 7, 4]]],
    "NVTX_EVENTS": [["start", "end", "eventType", "text", "globalTid"], [[0, 600, 59, "compute:0", 7]]],
    "views": [["StringIds", "SELECT 1 AS id, 'compute:1' AS value"]],
}  # fmt: skip


def exported(path: Path) -> object:
    """The analysis of the SQLite file that a hostile version of EXPORT describes."""
    described, target = read_json(path), path.with_suffix(".sqlite")
    target.unlink(missing_ok=True)
    work = sqlite3.connect(target)
    for table, content in described.items() if isinstance(described, dict) else ():
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError, OverflowError):
            if table == "views":
                for name, query in content:
                    work.execute(f'CREATE VIEW "{name}" AS {query}')
                continue
            columns, rows = content
            work.execute(f'CREATE TABLE "{table}" ({", ".join(map(json.dumps, columns))})')
            work.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})', rows)
    work.commit()
    work.close()
    return analyse(target)


TRACE = {"traceEvents": [
    {"ph": "X", "cat": cat, "name": name, "ts": at, "dur": 5, "tid": 1,
     "args": {"correlation": place, "bytes": 64}}
    for place, (cat, name, at) in enumerate(
        [("user_annotation", "compute:0", 1), ("cuda_runtime", "launch", 2), ("kernel", "gemm", 3),
         ("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 9), ("gpu_memcpy", "Memcpy DtoH", 20)])
]}  # fmt: skip


def profiles(path: Path) -> object:
    """A folder of profiles whose names a list says."""
    listed = read_json(path)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(name)) for name in listed] if isinstance(listed, list) else []
        rows = analyse_folder(paths, 10)
        assert all("\n" not in str(row["reason"]) for row in rows)
        return rows


TINY: list[dict[str, Any]] = [
    {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64,
     "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
    {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 64},
    {"model_type": "mixtral", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64,
     "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "num_local_experts": 4,
     "num_experts_per_tok": 2, "tilecast": {"parameters": 10**9, "architectures": {"training": "MixtralModel"}}},
]  # fmt: skip


def tiny() -> list[bytes]:
    return [json.dumps(values).encode() for values in TINY]


def traced(path: Path) -> object:
    """At most 50 layers: each takes as long as the one before."""
    spec = load_model(path)
    fewer = {key: 50 for key in LAYER_KEYS if isinstance(count := spec.values.get(key), int) and count > 50}
    return trace(replace(spec, values={**spec.values, **fewer}), mode="training", sequence_length=8)


def divided(path: Path) -> object:
    model = equal_layers(load_model(path))
    return [legal(Layout(tp=tp, pp=2, dp=2), model, 4 * tp, 8, 64) for tp in (1, 2, 3)]


def study_names(path: Path) -> object:
    moe_names._raw.cache_clear()
    return moe_names.figure_names(path), moe_names.focus_of(path)


SCALES = {"device": "here", "predictor": "tilecast", "n": 1, "law": [0.2, 1.0, 0.1],
          "kernels": [["bmm", "fp32", 0.1, 9.0, 0.1]]}  # fmt: skip
WHEEL = f"package\taic\nversion\t1.0\nfile\taic-1.0.whl\nplatform\tany\nsha256\t{'a' * 64}\nbytes\t12\n"
ANCHORS = files("resources/published/moe_anchors.yaml")


def dumped(value: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value).encode()]


def sqlite_files() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.json")
        path.write_text(json.dumps(EXPORT))
        exported(path)
        return [path.with_suffix(".sqlite").read_bytes()]


def trainable() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write(read_kernels({KERNEL: KERNELS}), Path(folder, "x.csv"), KERNELS_TABLE)
        return [Path(folder, "x.csv").read_bytes()]


PARSERS: dict[str, Parser] = {
    "configuration": ("yaml", ".yaml", lambda: [default_yaml().encode()], configured),
    "device": ("yaml", ".yaml", files("src/tilecast/data/devices/*.yaml"), load_device),
    "device file of the artifact": ("json", ".json", lambda: [CARD], load_device),
    "system": ("yaml", ".yaml", files("src/tilecast/data/systems/*.yaml"), load_system),
    "model": ("json", ".json", files("src/tilecast/data/models/*.json"), load_model),
    "claims": ("yaml", ".yaml", files("config/claims.yaml"), load_claims),
    "facts": ("yaml", ".yaml", files("resources/published/citation.yaml"), load_facts),
    "scenarios": ("yaml", ".yaml", files("config/studies/scenarios.yaml"), read_scenarios),
    "prices": ("yaml", ".yaml", files("src/tilecast/data/prices.yaml"), load_prices),
    "study, several GPUs": ("yaml", ".yaml", files("config/studies/multigpu.yaml"),
                            load_parallel_study),
    "study, experts": ("yaml", ".yaml", files("config/studies/moe*.yaml"), load_moe_study),
    "study, locality": ("yaml", ".yaml", files("config/studies/numa/*.yaml"), load_numa_study),
    "record, locality": ("json", ".json", files("resources/measured/numa/*.json"),
                         load_record),
    "study, this machine": ("yaml", ".yaml", files("config/studies/live.yaml"),
                            read_live_study),
    "description of a device": ("json", ".json", lambda: [b'{"name": "this CPU"}'],
                                describe.read_description),
    "manifest of results": ("csv", ".csv", lambda: [MANIFEST_OF_RESULTS], manifested),
    "bundle": ("bytes", ".tar.gz", bundles, bundle.verify),
    "requests of a server": ("csv", ".csv", lambda: [b"seconds,prompt,output\n0,512,20\n1.5,64,8\n"], read_trace),
    "labels of a user": ("csv", ".csv", lambda: [USERS], read_label_file),
    "transcribed latencies": ("csv", ".csv", files("resources/published/end_to_end.csv"),
                              read_published),
    "table, Parquet": ("parquet", ".parquet", parquets, lambda path: read(path, KERNELS_TABLE)),
    "lock": ("tsv", ".tsv", lambda: [b"path\tblob\tbytes\na/b\t" + b"a" * 40 + b"\t12\n"],
             read_lock),
    "archive": ("zip", ".zip", zipped, lambda path: store.load(path, names.ROOT)),
    "label": ("json", ".json", lambda: [WHOLE], artifact(LABEL, cells.read_labels)),
    "prediction": ("json", ".json", lambda: [WHOLE],
                   artifact(PREDICTION, cells.read_predictions)),
    "device table": ("json", ".json", lambda: [CARD], artifact(DEVICE, cells.read_devices)),
    "operators": ("csv", ".csv", lambda: [OPERATORS], artifact(
        LABEL.replace(".json", ".csv"), read_operator_labels, (LABEL, WHOLE))),
    "predicted operators": ("csv", ".csv", lambda: [PREDICTED], artifact(
        PREDICTION.replace(".json", ".csv"), read_operator_predictions, (PREDICTION, WHOLE), (LABEL, WHOLE))),
    "operator graph": ("csv", ".csv", lambda: [GRAPH],
                       artifact(names.GRAPHS + "gpt2_large-train-1024-4.csv", read_graphs)),
    "kernels": ("csv", ".csv", lambda: [KERNELS], artifact(KERNEL, read_kernels)),
    "weights of li": trained("li", "lines.json"),
    "weights of habitat": trained("habitat", "references.safetensors"),
    "weights of neusight": trained("neusight", "profiles.safetensors"),
    "networks of neusight": trained("neusight", "norm.safetensors"),
    "weights of tilecast": trained("tilecast", "experts.safetensors"),
    "record of tilecast": trained("tilecast", "record.json"),
    "model, traced": ("json", ".json", tiny, traced),
    "model, divided": ("json", ".json", tiny, divided),
    "model, experts": ("json", ".json", lambda: tiny()[2:], lambda path: moe_model(load_model(path))),
    "names, experts": ("yaml", ".yaml", files("config/studies/moe*.yaml"), study_names),
    "trace, experts": ("bytes", ".csv", lambda: [b"sequence,step,layer,expert\n0,0,0,1\n0,0,0,2\n"],
                       lambda path: routed(path, 8, 2, 1)),
    "words, locality": ("bytes", ".txt", lambda: [b"samples=500 gpu_ids=[0,1] depth=2,4\n"],
                        lambda path: changed("quick_test", path.read_text(errors="replace").split())),
    "anchors": ("yaml", ".yaml", ANCHORS, experts.load_anchors),
    "record, locality, as tables": ("json", ".json", files("resources/measured/numa/*.json"),
                                    lambda path: record_tables(load_record(path))),
    "profile, SQLite": ("bytes", ".sqlite", sqlite_files, analyse),
    "profile, SQLite tables": ("json", ".json", dumped(EXPORT), exported),
    "profile, torch": ("json", ".json", dumped(TRACE), analyse),
    "profiles, names": ("json", ".json", dumped(["pipeline_gpu0_numa1_vit32x6x512.json", "x.sqlite"]), profiles),
    "GPUs, nvidia-smi": ("bytes", ".txt", lambda: [b"0, NVIDIA L4, 00000000:01:00.0, 4, 16, 16\n"],
                         lambda path: read_topology(path.parent, lambda: path.read_text(errors="replace"))),
    "description, as a device": ("json", ".json", files("resources/measured/CPU*/description.json"),
                                 lambda path: describe.device_of(describe.read_description(path), path)),
    "calibration": ("json", ".json", dumped(SCALES), lambda path: calibrate.load(path, "here", "tilecast")),
    "run, its table": ("parquet", ".parquet", lambda: [INSIDE["measured/here/kernels-001.parquet"]], measured_run),
    "bundle, its record": ("json", ".json", lambda: [INSIDE["measured/here/kernels-001.json"]],
                           bundled("kernels-001.json")),
    "bundle, its description": ("json", ".json", lambda: [INSIDE["measured/here/description.json"]],
                                bundled("description.json")),
    "bundle, names": ("json", ".json", dumped([[name, "0"] for name in INSIDE]), members),
    "labels, as cells": ("csv", ".csv", lambda: [USERS], lambda path: known_cells(path)),
    "kernels to train on": ("csv", ".csv", trainable, read_training_kernels),
    "lock of the wheel": ("tsv", ".tsv", lambda: [WHEEL.encode()], read_wheel_lock),
}  # fmt: skip
