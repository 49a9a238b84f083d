"""The half-precision track in the workflow: on a made-up wheel, and without a network."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from copies import Copy

pytestmark = pytest.mark.slow

TARGETS = ["results/modern/serving_errors.csv", *(f"results/figures/modern_{n}.svg" for n in ("sizes", "serving"))]
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
POINTS = (
    "id,silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,"
    "gemm_quant_mode,moe_quant_mode,batch_size,"
    "tp_size,attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms\n"
    "a,source_file=2026-04-06.csv,vllm,1,meta-llama/Llama-3.1-70B,h100_sxm,fp8,agg,1024,128,fp8,fp8,8,4,1,4,1,200,15\n"
)


def made_up_wheel(path: Path) -> Path:
    """Products of two GPUs, a serving point and its model, laid out like the wheel."""
    m, n, k = (a.ravel() for a in np.meshgrid(2 ** np.arange(9), [256, 4096, 8192], [512, 2048, 8192, 9000]))
    latency = 0.003 + 2.0 * m * n * k / 5e11
    frame = pd.DataFrame(
        {"m": m, "n": n, "k": k, "latency": latency, "gemm_dtype": "bfloat16", "kernel_source": "x"}
    )
    frame = pd.concat([frame, frame.assign(m=frame["m"] + 511), frame.assign(m=frame["m"] + 2000)])
    with zipfile.ZipFile(path, "w") as archive:
        for system in ("h100_sxm", "l40s"):
            data = io.BytesIO()
            frame.to_parquet(data, index=False)
            name = f"aiconfigurator_core/systems/data/{system}/gemm/vllm/0.24.0/gemm_perf.parquet"
            archive.writestr(name, data.getvalue())
        archive.writestr("aiconfigurator_core/systems/silicon_sample.csv", POINTS)
        archive.writestr(
            "aiconfigurator_core/model_configs/meta-llama--Meta-Llama-3.1-70B_config.json", json.dumps(LLAMA)
        )
    return path


def test_a_made_up_wheel_is_evaluated_and_a_damaged_one_is_refused(workflow_copy: Copy, tmp_path: Path) -> None:
    wheel = made_up_wheel(tmp_path / "made_up.whl")
    data = wheel.read_bytes()
    lock = (workflow_copy.root / "resources/half_precision.lock").read_text().splitlines()
    changed = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": str(len(data))}
    lines = [f"{(key := line.split(chr(9))[0])}\t{changed.get(key, line.split(chr(9))[1])}" for line in lock]
    (workflow_copy.root / "resources/half_precision.lock").write_text("\n".join(lines) + "\n")
    damaged = bytearray(data)
    damaged[100] ^= 1
    (tmp_path / "damaged.whl").write_bytes(damaged)
    refused = workflow_copy.snakemake(*TARGETS, fails=True, TILECAST_MODERN_WHEEL=str(tmp_path / "damaged.whl"))
    assert "sha256" in refused.output
    assert not (workflow_copy.root / "results/modern/kernels.zip").exists()
    workflow_copy.snakemake(*TARGETS, TILECAST_MODERN_WHEEL=str(wheel))
    results = workflow_copy.root / "results/modern"
    serving = pd.read_csv(results / "serving.csv")
    assert list(serving["point"]) == ["a", "a"]
    assert serving["tpot_ms"].between(5, 60).all()
    sample = pd.read_csv(results / "sample.csv")
    assert set(sample["generation"]) == {"Hopper", "Ada"}
    assert {"line", "efficiencies", "nearest", "grid"} < set(pd.read_csv(results / "baselines.csv")["predictor"])
    assert workflow_copy.would_run(*TARGETS) == set()


def test_without_a_network_the_tables_are_empty_and_the_figures_say_so(workflow_copy: Copy) -> None:
    run = workflow_copy.snakemake(*TARGETS)
    assert "half_precision_fetch" in run.rules
    results = workflow_copy.root / "results"
    assert json.loads((results / "modern/source.json").read_text())["available"] is False
    assert pd.read_csv(results / "modern/serving.csv").empty
    about = json.loads((results / "figures/modern_sizes.json").read_text())
    assert about["n"] == 0
    assert "not fetched" in about["reason"]
