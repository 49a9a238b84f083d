"""The wheel of kernel timings: fetched as data, verified, read from the zip, flagged by rule."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.artifact import aiconfigurator
from tilecast.artifact.aiconfigurator import WHEEL_VARIABLE, command, fetch, read_lock
from tilecast.artifact.aiconfigurator_tables import (
    Archive,
    flagged,
    kernel_table,
    noise_percent,
    serving_table,
    write_kernels,
)
from tilecast.base.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


def gemm_rows(scale=1.0, dtype="bfloat16"):
    """A full grid of products whose time grows with their size."""
    m, n, k = (axis.ravel() for axis in np.meshgrid([1, 64, 1024], [256, 4096], [512, 8192], indexing="ij"))
    latency = scale * (0.002 + 2.0 * m * n * k / 5e11 + 2 * (n * k + m * k + m * n) / 2e9)
    frame = pd.DataFrame({"m": m, "n": n, "k": k, "latency": latency})
    return frame.assign(gemm_dtype=dtype, kernel_source="linear")


def make_wheel(path, tables, extra=()):
    """A zip laid out like the wheel; `tables` maps (system, framework, version, table) to frames."""
    with zipfile.ZipFile(path, "w") as archive:
        for (system, framework, version, table), frame in tables.items():
            buffer = io.BytesIO()
            frame.to_parquet(buffer, index=False)
            name = f"aiconfigurator_core/systems/data/{system}/ops/{framework}/{version}/{table}.parquet"
            archive.writestr(name, buffer.getvalue())
        for name, text in extra:
            archive.writestr(f"aiconfigurator_core/{name}", text)
    return path


def lock_of(path, wheel, package="made-up", version="1.0"):
    data = wheel.read_bytes()
    lines = {
        "package": package,
        "version": version,
        "file": wheel.name,
        "platform": "manylinux_2_28_x86_64",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
    }
    path.write_text("".join(f"{key}\t{value}\n" for key, value in lines.items()))
    return path


def index_with(folder, name, version="1.0", tag="cp311-abi3-manylinux_2_28_x86_64"):
    """A wheel that pip accepts, in a folder that serves as an index."""
    folder.mkdir(exist_ok=True)
    stem = name.replace("-", "_")
    wheel = folder / f"{stem}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{stem}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{stem}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n"
        )
        archive.writestr(f"{stem}-{version}.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """pip sees a folder, and no network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv(WHEEL_VARIABLE, raising=False)
    return tmp_path


def test_the_lock_names_the_wheel_that_the_documentation_names():
    wheel = read_lock(ROOT / "resources/half_precision.lock")
    assert (wheel.package, wheel.version, wheel.size) == ("aiconfigurator-core", "0.12.0", 81715575)
    assert wheel.sha256 == "aadc4aad0a00bf8a61c477c62bef43de479849c3aa0b1c3078068e08309eccc4"
    words = command(wheel, Path("x"))
    assert {"--no-deps", "--only-binary=:all:", "manylinux_2_28_x86_64"} <= set(words)


def test_a_wheel_for_another_platform_than_this_is_fetched(offline):
    """The platform tag is the lock's, whatever machine asks: here one that no machine of this test has."""
    tag = "cp311-abi3-manylinux_2_28_s390x"
    wheel = index_with(offline / "index", "made-up", tag=tag)
    lock = lock_of(offline / "lock", wheel)
    lock.write_text(lock.read_text().replace("manylinux_2_28_x86_64\n", "manylinux_2_28_s390x\n"))
    assert fetch(lock, offline / "out.zip", offline / "source.json")
    assert (offline / "out.zip").read_bytes() == wheel.read_bytes()
    assert json.loads((offline / "source.json").read_text())["available"] is True


def test_without_a_network_there_is_an_empty_archive_and_a_record(offline, capsys):
    lock = lock_of(offline / "lock", index_with(offline / "elsewhere", "made-up"))
    assert not fetch(lock, offline / "out.zip", offline / "source.json")
    assert json.loads((offline / "source.json").read_text())["available"] is False
    assert not Archive(offline / "out.zip")
    assert "could not download" in capsys.readouterr().out
    assert not list(offline.glob(".wheel-*"))


def test_a_corrupted_wheel_is_refused_and_nothing_is_left(offline, monkeypatch):
    wheel = index_with(offline / "index", "made-up")
    lock = lock_of(offline / "lock", wheel)
    damaged = bytearray(wheel.read_bytes())
    damaged[40] ^= 1
    (offline / "copy.whl").write_bytes(damaged)
    monkeypatch.setenv(WHEEL_VARIABLE, str(offline / "copy.whl"))
    with pytest.raises(InputError, match="sha256"):
        fetch(lock, offline / "out.zip", offline / "source.json")
    (offline / "copy.whl").write_bytes(damaged[:-3])
    with pytest.raises(InputError, match="bytes where the lock has"):
        fetch(lock, offline / "out.zip", offline / "source.json")
    assert not (offline / "out.zip").exists()
    assert not (offline / "source.json").exists()


def test_a_download_that_hangs_is_ended(offline, monkeypatch):
    lock = lock_of(offline / "lock", index_with(offline / "index", "made-up"))
    monkeypatch.setattr(
        aiconfigurator, "command", lambda wheel, folder: [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    assert not fetch(lock, offline / "out.zip", offline / "source.json", timeout_s=0.5)


def test_a_lock_that_is_none_is_refused(tmp_path):
    for text in ("", "package\tx\n", "package\tx\nversion\t1\nfile\t../x\nplatform\ty\nsha256\tz\nbytes\t1\n"):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(InputError):
            read_lock(tmp_path / "lock")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    rows = gemm_rows()
    tables = {
        ("h100_sxm", "vllm", "0.24.0", "gemm_perf"): pd.concat([rows, rows.assign(latency=rows["latency"] * 1.2)]),
        ("h100_sxm", "vllm", "0.9.0", "gemm_perf"): gemm_rows(9.0),
        ("h100_sxm", "sglang", "0.5.14", "gemm_perf"): gemm_rows(1.1),
        ("h100_sxm", "trtllm", "1.3.0rc20", "gemm_perf"): gemm_rows(1.0, "fp8_block"),
    }
    points = (
        "id,silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,"
        "gemm_quant_mode,moe_quant_mode,batch_size,"
        "tp_size,attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms\n"
        "a,source_file=2026-04-06.csv,vllm,1,meta-llama/Llama-3.1-70B,h100_sxm,fp8,agg,1024,128,fp8,fp8,8,4,1,4,1,200,15\n"
        "b,source_file=data/x.csv,vllm,1,meta-llama/Llama-3.1-70B,h100_sxm,fp8,disagg,1024,128,fp8,fp8,8,4,1,4,1,200,15\n"
    )
    path = tmp_path_factory.mktemp("wheel") / "w.zip"
    return Archive(make_wheel(path, tables, [("systems/silicon_sample.csv", points)]))


def test_rows_are_of_the_newest_version_of_the_default_framework(archive):
    table = kernel_table(archive, "h100_sxm", "gemm", noise=False)
    bf16 = table[table["dtype"] == "bf16"]
    assert set(bf16["framework"]) == {"vllm"}
    assert set(bf16["version"]) == {"0.24.0"}
    assert set(table[table["dtype"] == "fp8_block"]["framework"]) == {"trtllm"}
    assert set(table["device"]) == {"NVIDIA_H100_80GB_HBM3"}


def test_rows_are_numbered_anew_and_have_no_noise_unless_asked(archive):
    table = kernel_table(archive, "h100_sxm", "gemm", noise=False)
    assert not {"index", "noise_percent"} & set(table.columns)
    assert "noise_percent" in kernel_table(archive, "h100_sxm", "gemm").columns
    assert list(kernel_table(archive, "h100_sxm", "gemm", dtypes=["bf16"])["dtype"].unique()) == ["bf16"]


def test_tokens_drawn_evenly_are_a_skew_of_nought(tmp_path):
    """The collectors name the draw: a power law with its exponent, or a balanced one."""
    rows = pd.DataFrame({"num_tokens": [1, 1, 4], "latency": [0.1, 0.2, 0.3]}).assign(
        hidden_size=512, inter_size=256, topk=2, num_experts=8, moe_tp_size=1, moe_ep_size=1, moe_dtype="bfloat16",
        kernel_source="fused_moe", distribution=["balanced", "power_law_1.2", "uniform"],
    )  # fmt: skip
    wheel = make_wheel(tmp_path / "w.zip", {("h100_sxm", "vllm", "1.0", "moe_perf"): rows})
    found = Archive(wheel).kernels("h100_sxm", "moe")
    assert sorted(zip(found["latency_ms"], found["skew"])) == [(0.1, 0.0), (0.2, 1.2), (0.3, 0.0)]


def test_of_rows_measured_twice_the_fastest_counts(archive):
    table = kernel_table(archive, "h100_sxm", "gemm", noise=False)
    bf16 = table[table["dtype"] == "bf16"]
    assert (bf16["flag"] == "duplicate").sum() == 12
    kept = bf16[bf16["flag"] == ""]
    assert kept["latency_ms"].to_numpy() == pytest.approx(gemm_rows()["latency"].to_numpy())


def test_a_row_slower_than_a_larger_kernel_is_on_a_slow_path():
    rows = gemm_rows().rename(columns={"latency": "latency_ms", "gemm_dtype": "dtype"})
    assert (flagged(rows, "gemm") == "").all()
    small = rows.index[(rows["m"] == 64) & (rows["n"] == 256) & (rows["k"] == 512)]
    rows.loc[small, "latency_ms"] = 54 * rows.loc[small, "latency_ms"]
    marks = flagged(rows, "gemm")
    assert list(marks.index[marks == "slow path"]) == list(small)


def test_noise_is_the_spread_of_frameworks_on_the_same_kernel(archive):
    mine = archive.kernels("h100_sxm", "gemm")
    mine = mine[~mine.duplicated(["m", "n", "k"])].reset_index(drop=True)
    spread = noise_percent(mine, [archive.kernels("h100_sxm", "gemm", "sglang")], "gemm")
    assert spread == pytest.approx(np.full(len(mine), 100 * 0.05 / 1.05))
    assert np.isnan(noise_percent(mine, [], "gemm")).all()


def test_serving_points_are_those_without_separate_prefill(archive):
    assert serving_table(archive)[["point", "sweep"]].to_numpy().tolist() == [["a", True]]


@pytest.mark.slow
def test_the_tidy_table_holds_a_row_group_a_gpu_and_family(archive, tmp_path):
    assert write_kernels(archive, tmp_path / "k.parquet") == 36
    table = pd.read_parquet(tmp_path / "k.parquet")
    assert {"device", "family", "dtype", "latency_ms", "source", "framework", "version", "flag"} <= set(
        table.columns
    )
    first = (tmp_path / "k.parquet").read_bytes()
    write_kernels(archive, tmp_path / "k.parquet")
    assert (tmp_path / "k.parquet").read_bytes() == first


def test_an_empty_archive_gives_empty_tables(tmp_path):
    with zipfile.ZipFile(tmp_path / "e.zip", "w"):
        pass
    empty = Archive(tmp_path / "e.zip")
    assert kernel_table(empty, "h100_sxm", "gemm").empty
    assert serving_table(empty).empty
    (tmp_path / "no.zip").write_text("no zip")
    with pytest.raises(InputError, match="zip"):
        Archive(tmp_path / "no.zip")


def test_the_wheel_is_never_imported():
    """Reading tables imports nothing of the wheel's package."""
    code = (
        "import sys, tilecast.evaluate.generations, tilecast.serving.passes; "
        "print([m for m in sys.modules if 'aiconfigurator_core' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
