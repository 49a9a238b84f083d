"""What the workflow leaves for the page's sections on many GPUs, half precision, experts and locality, small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from small_tables import write_rows

from tilecast.locality.host import described_hosts
from tilecast.locality.model import Work, predicted
from tilecast.locality.record import load, summary, tables
from tilecast.locality.study import counts, load_study, study_names
from tilecast.moe.study import Study
from tilecast.moe.study import load_study as load_experts
from tilecast.moe.tables import layouts_table, models_table, systems_table
from tilecast.tables.declared import half_precision, locality, moe, multigpu
from tilecast.tables.io import read, write

ROOT = Path(__file__).resolve().parents[2]


def write_multigpu(root: Path) -> Path:
    """One suite within its goals, one beyond, one without; the shipped record as the study."""
    shutil.copytree(ROOT / "resources/studies/multigpu", root / "parallel/study")
    scores = (
        ("artifact", 11, 5.0, 12.0, 5.5, 12.0),
        ("megatron", 10, 5.1, 9.0, 5.0, None),
        ("recompute", 8, 4.0, 9.0),
    )
    names = ("suite", "cases", "mean_percent", "worst_percent", "bar_mean_percent", "bar_worst_percent")
    rows = [dict(zip(names, score, strict=False)) for score in scores]
    write_rows(root / "parallel/scoreboard.csv", multigpu.SCOREBOARD, *rows)
    reduced = {"op": "all_reduce", "sizes": "all", "n": 33, "worst_percent": 50.0}
    collectives = (("leave-one-size-out", "l40s", 14.9), ("spec-only", "b200_sxm", 20.1))
    errors = [
        reduced | {"basis": basis, "system": name, "mape_percent": mean} for basis, name, mean in collectives
    ]
    write_rows(root / "parallel/collectives_mape.csv", multigpu.COLLECTIVES_MAPE, *errors)
    return root


def write_half_precision(root: Path) -> Path:
    """Two families forecast both ways, serving, a sample, noise and the publisher's system."""
    gpu = {"generation": "Hopper", "device": "NVIDIA_H100_80GB_HBM3", "dtype": "bf16", "predictor": "tilecast"}
    protocol = [
        gpu | {"kind": kind, "family": family, "mape_long_percent": 5.0, "mape_percent": 6.0}
        for kind in ("left out", "forward")
        for family in ("gemm", "decode")
    ]
    write_rows(root / "modern/protocol.csv", half_precision.PROTOCOL, *protocol)
    write_rows(root / "modern/sample.csv", half_precision.PROTOCOL, gpu | {"family": "gemm"})
    rival = {"generation": "Hopper", "calls": "long", "mape_percent": 11.0}
    rivals = [rival | {"predictor": "tilecast"}, rival | {"predictor": "grid", "mape_percent": 10.9}]
    write_rows(root / "modern/baselines.csv", half_precision.GENERATION_BASELINES, *rivals)
    shapes = [row | {"family": "decode"} for row in rivals]
    write_rows(root / "modern/shapes.csv", half_precision.SHAPE_BASELINES, *shapes)
    served = [{"device": device, "framework": "all"} for device in ("all", "NVIDIA_H200")]
    write_rows(root / "modern/serving_errors.csv", half_precision.SERVING_ERRORS, *served)
    row = {"without": "nothing", "family": "gemm", "generation": "Hopper", "n": 9, "mape_percent": 11.0}
    write_rows(root / "modern/ablation.csv", half_precision.HALF_ABLATION, row)
    taken = {"without": "nothing", "kind": "dense", "n": 2, "tpot_percent": 16.0}
    write_rows(root / "modern/serving_ablation.csv", half_precision.SERVING_ABLATION, taken)
    noise = {"device": gpu["device"], "family": "gemm", "dtype": "bf16", "mean_percent": 3.0}
    write_rows(root / "modern/noise.csv", half_precision.NOISE, noise)
    write_rows(root / "modern/anchor.csv", half_precision.ANCHOR, {"forecaster": "the publisher"})
    source = {"available": True, "package": "p", "version": "1", "sha256": "a" * 64, "bytes": 9}
    (root / "modern/source.json").write_text(json.dumps(source))
    return root


def small_study() -> Study:
    """The shipped study, of what it leaves open one input, of real models one."""
    study = load_experts(ROOT / "config/studies/moe_prefetch.yaml")
    given = study.physical.changed("test", unstated={"recall": [0.5]}, models=["mixtral_8x7b"])
    return study.model_copy(update={"physical": given})


def write_experts(root: Path) -> Path:
    """The shipped study, and one row of each comparison with measurements."""
    study = small_study()
    write(systems_table(study), root / "moe/data/all_systems_comparison.csv", moe.SYSTEMS)
    write(models_table(study), root / "moe/models.csv", moe.MODELS)
    write(layouts_table(study), root / "moe/layouts.csv", moe.LAYOUTS)
    write_rows(root / "moe/alltoall_errors.csv", moe.ALLTOALL_ERRORS, {"kernel": "all", "mape_percent": 5.0})
    write_rows(root / "moe/anchors.csv", moe.ANCHORS, {"source": "a paper", "measured_ms": 735.0, "judged": True})
    gain = {"source": "a paper", "gain": 2.5}
    write_rows(root / "moe/gains.csv", moe.GAINS, gain)
    return root


def write_locality(root: Path) -> Path:
    """The shipped record, and a forecast of two models made here."""
    raw = load(ROOT / "resources/measured/numa/quick_test.json")
    for name, table in tables(raw).items():
        write(table, root / f"numa/record/{name}.csv", locality.RECORD[name])
    for name, content in (("topology", raw["topology"] | {"host": "this host"}), ("record/summary", summary(raw))):
        (root / f"numa/{name}.json").write_text(json.dumps(content))
    found = pd.DataFrame(counts({name: load_study(name) for name in study_names()}))
    write(found, root / "numa/counts.csv", locality.COUNTS)
    published = ROOT / "resources/published"
    hosts = described_hosts(
        read(published / "numa_hosts.csv", locality.HOSTS), read(published / "numa_limits.csv", locality.LIMITS)
    )
    cells = [("vit0x0x0", "fp32", 10, False), ("vit32x2x128", "fp32", 10, False)]
    forecast = predicted(hosts, cells, lambda *_: Work(1e9, (0.5, 0.4, 0.6), (0.3, 0.2, 0.4)))
    write(pd.DataFrame(forecast), root / "numa/predicted.csv", locality.PREDICTED)
    return root
