"""Kernel timings and serving points of the wheel as tidy tables, straight from the zip.

One framework is the default; rows it measured twice, or on a path slower than a larger kernel's, are flagged by
rule; where other frameworks time the same library kernel, their spread is the row's measurement noise.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path
from tilecast.tables.declared.half_precision import SERVING_POINTS
from tilecast.tables.io import empty

# Folder of the wheel, device of data/devices, generation: its GPUs are left out together when one is tested.
_GPUS = (
    ("a100_sxm", "NVIDIA_A100-SXM4-80GB", "Ampere"),
    ("l40s", "NVIDIA_L40S", "Ada"),
    ("h100_sxm", "NVIDIA_H100_80GB_HBM3", "Hopper"),
    ("h200_sxm", "NVIDIA_H200", "Hopper"),
    ("b200_sxm", "NVIDIA_B200", "Blackwell"),
    ("b300_sxm", "NVIDIA_B300", "Blackwell"),
    ("gb200", "NVIDIA_GB200", "Blackwell"),
    ("gb300", "NVIDIA_GB300", "Blackwell"),
    ("rtx_pro_6000_server", "NVIDIA_RTX_PRO_6000", "RTX Blackwell"),
)
SYSTEMS = {folder: device for folder, device, _ in _GPUS}
GENERATIONS = {device: generation for _, device, generation in _GPUS}
FILES = {
    "gemm": "gemm_perf",
    "prefill": "context_attention_perf",
    "decode": "generation_attention_perf",
    "moe": "moe_perf",
    "moe_triton": "moe_perf",
}
# Experts by one library's kernel: its framework, its rows' source, formats. The only one measured on every
# generation. At more than one rank its collector sends other ranks' assignments to the first expert, which is no
# deployment's work: one rank only.
LIBRARY = {"moe_triton": ("sglang", r"fused_moe_triton$", ("bf16", "fp8_block"))}
# vLLM measured all nine GPUs in all four families, and its bf16 product is the library's plain one. Its products
# in block-scaled fp8 are timed with the host's work (the shortest take 58 to 293 microseconds; others', 4 to 6),
# and it has no attention in fp8: TensorRT-LLM stands in for these.
DEFAULT_FRAMEWORK = "vllm"
DEFAULT_OF = {("gemm", "fp8_block"): "trtllm", ("prefill", "fp8"): "trtllm"}
DTYPES = {
    "bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8_block", "nvfp4": "nvfp4", "w4a16_mxfp4": "mxfp4",
}  # fmt: skip
DIMENSIONS = {
    "gemm": ("m", "n", "k"),
    "prefill": ("batch", "tokens", "heads", "kv_heads", "head_dim", "window"),
    "decode": ("batch", "context", "heads", "kv_heads", "head_dim", "window"),
    **dict.fromkeys(("moe", "moe_triton"), ("tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "skew")),
}
_NAMES = {
    "batch_size": "batch", "isl": "tokens", "num_heads": "heads", "num_key_value_heads": "kv_heads",
    "window_size": "window", "num_tokens": "tokens", "hidden_size": "hidden", "inter_size": "inter",
    "num_experts": "experts", "moe_tp_size": "tp", "moe_ep_size": "ep", "latency": "latency_ms",
    "kernel_source": "source",
}  # fmt: skip
ORIGIN = ("source", "framework", "version")
# Work grows with these: a kernel as large in all of them and faster by SLOW shows the slower one's path.
GROWING = {
    "gemm": ("m", "n", "k"),
    "prefill": ("tokens", "batch", "heads"),
    "decode": ("context", "batch", "heads"),
    **dict.fromkeys(("moe", "moe_triton"), ("tokens",)),
}
SLOW = 2.0
_MEMBER = re.compile(r"aiconfigurator_core/systems/data/([^/]+)/[^/]+/([^/]+)/([^/]+)/([^/]+)\.parquet")
# Frameworks' names for bf16 kernels that come from one library; `.*` where all of them call the vendor's product.
SAME_LIBRARY = {
    "gemm": (r".*",),
    "prefill": (r"fa3$|flash_attn_fa3", r"trtllm_mha|trtllmprefill"),
    "decode": (r"fa3$|flash_attn_fa3", r"trtllm_mha|trtllmdecode"),
}


def _newest(version: str) -> tuple[Any, ...]:
    """Versions in order: numbers as numbers, a release candidate before its release."""
    parts = re.findall(r"\d+|rc\d+", version)
    return tuple((0, part) if part.startswith("rc") else (1, int(part)) for part in parts)


class Archive:
    """The wheel, opened for reading; an empty one holds no table."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(path, f"cannot be read as a zip ({error})", "fetch it anew") from None
        found = filter(None, map(_MEMBER.fullmatch, self.zip.namelist()))
        self.members = {match.groups(): match[0] for match in found}  # (system, framework, version, table) -> path

    def __bool__(self) -> bool:
        return bool(self.members)

    def frameworks(self, system: str, family: str) -> dict[str, str]:
        """The newest version of each framework that measured a family on a system."""
        found: dict[str, str] = {}
        for one, framework, version, table in sorted(self.members):
            if (one, table) == (system, FILES[family]) and _newest(version) > _newest(found.get(framework, "")):
                found[framework] = version
        return found

    def text(self, name: str) -> str:
        """A text file of the wheel; empty where it has none."""
        try:
            return self.zip.read(f"aiconfigurator_core/{name}").decode()
        except KeyError:
            return ""

    def kernels(self, system: str, family: str, framework: str = DEFAULT_FRAMEWORK) -> pd.DataFrame:
        """One family on one GPU by one framework: dimensions, number format, latency, source, version."""
        import pyarrow.parquet as parquet

        version = self.frameworks(system, family).get(framework)
        columns = ["device", "family", "dtype", *DIMENSIONS[family], "latency_ms", *ORIGIN]
        if version is None:
            return pd.DataFrame(columns=columns)
        data = self.zip.read(self.members[system, framework, version, FILES[family]])
        raw = parquet.read_table(io.BytesIO(data)).to_pandas().rename(columns=_NAMES)
        if family == "decode":
            raw["context"] = raw["step"] + 1
            raw["dtype"] = raw["kv_cache_dtype"]
        elif family == "prefill":
            raw["dtype"] = np.where(raw["attn_dtype"] == "fp8", "fp8", raw["attn_dtype"])
            raw = raw[(raw["kv_cache_dtype"] == "bfloat16") | (raw["attn_dtype"] == "fp8")]
        else:
            raw["dtype"] = raw[f"{family.split('_')[0]}_dtype"]
        if "window" in columns:
            raw["window"] = raw["window"].fillna(0) if "window" in raw else 0
        if family in LIBRARY:
            raw = raw[raw["source"].astype(str).str.contains(LIBRARY[family][1]) & (raw["ep"] == 1)].copy()
        if family.startswith("moe"):
            skew = raw["distribution"].astype(str).str.extract(r"power_law_([\d.]+)")[0].astype(float)
            raw["skew"] = skew.fillna(0.0)
        raw["dtype"] = raw["dtype"].astype(str).map(DTYPES)
        rows = raw[raw["dtype"].isin(LIBRARY[family][2] if family in LIBRARY else DTYPES.values())]
        rows = rows[rows["latency_ms"] > 0]
        rows = rows.assign(device=SYSTEMS[system], family=family, framework=framework, version=version)
        return rows[columns].reset_index(drop=True)


def flagged(rows: pd.DataFrame, family: str) -> pd.Series:
    """What is wrong with each row of one GPU and framework: "", "duplicate" or "slow path".

    Of rows measured twice the fastest counts. A row is on a slow path where a kernel of at least its size in every
    growing dimension, alike in the others, took less than 1 / SLOW of its time.
    """
    flag = pd.Series("", index=rows.index)
    if rows.empty:
        return flag
    every = ["dtype", *DIMENSIONS[family]]
    ordered = rows.sort_values([*every, "latency_ms"], kind="stable")
    flag[ordered.index[ordered.duplicated(every)]] = "duplicate"
    kept = ordered[~ordered.duplicated(every)]
    least = kept["latency_ms"].copy()
    for axis in GROWING[family]:
        down = kept.assign(least=least).sort_values(axis, ascending=False, kind="stable")
        alike = [name for name in every if name != axis]
        least = down.groupby(alike, sort=False)["least"].cummin().reindex(kept.index)
    slow = kept["latency_ms"] > SLOW * least
    flag[kept.index[slow]] = "slow path"
    return flag


def noise_percent(rows: pd.DataFrame, others: Iterable[pd.DataFrame], family: str) -> np.ndarray:
    """Per row: mean deviation from their median of all frameworks' times of the same library kernel; NaN alone."""
    every = ["dtype", *DIMENSIONS[family]]
    times = []
    for table in (rows, *others):
        library = pd.Series("", index=table.index)
        for pattern in SAME_LIBRARY.get(family, ()):
            hit = (table["dtype"] == "bf16") & table["source"].astype(str).str.contains(pattern)
            library[hit] = pattern
        known = table.assign(library=library)[library != ""]
        times.append(known.groupby([*every, "library"])["latency_ms"].min())
    joined = pd.concat(times, axis=1, keys=range(len(times)))
    joined = joined[joined.notna().sum(axis=1) > 1]
    middle = joined.median(axis=1)
    spread = 100 * joined.div(middle, axis=0).sub(1).abs().mean(axis=1)
    spread = spread.groupby(level=list(range(len(every)))).min().rename("noise")
    return np.asarray(rows[every].merge(spread, how="left", left_on=every, right_index=True)["noise"], dtype=float)


def kernel_table(
    archive: Archive, system: str, family: str, noise: bool = True, dtypes: Collection[str] = ()
) -> pd.DataFrame:
    """The tidy rows of each number format's default framework, with `flag` and, where asked, `noise_percent`.

    `dtypes` restricts the formats, where it names any.
    """
    parts = []
    default = LIBRARY[family][0] if family in LIBRARY else DEFAULT_FRAMEWORK
    stand_ins = sorted({name for (kind, _), name in DEFAULT_OF.items() if kind == family})
    for framework in (default, *stand_ins):
        rows = archive.kernels(system, family, framework)
        own = rows["dtype"].map(lambda dtype: DEFAULT_OF.get((family, dtype), default)) == framework
        rows = rows[own & (rows["dtype"].isin(list(dtypes)) if dtypes else True)].reset_index(drop=True)
        rows["flag"] = flagged(rows, family)
        if noise:
            names = [name for name in archive.frameworks(system, family) if name != framework]
            others = [archive.kernels(system, family, name) for name in names]
            rows["noise_percent"] = noise_percent(rows, others, family)
        parts.append(rows)
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def write_kernels(archive: Archive, path: str | os.PathLike[str]) -> int:
    """Write every tidy row, a row group a GPU and family so that one is in memory; how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    every = list(dict.fromkeys(name for names in DIMENSIONS.values() for name in names))
    texts = ("device", "family", "dtype", *ORIGIN, "flag")
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [(name, pa.float32()) for name in every]
        + [(name, pa.float64()) for name in ("latency_ms", "noise_percent")]
    )
    count = 0
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for family in FILES:
            for system in SYSTEMS:
                rows = kernel_table(archive, system, family)
                if len(rows):
                    frame = rows.reindex(columns=schema.names)
                    writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
                count += len(rows)
    return count


def serving_table(archive: Archive) -> pd.DataFrame:
    """Measured serving points where prefill and decode share GPUs; one row a point."""
    text = archive.text("systems/silicon_sample.csv")
    columns = {
        "model_path": "model", "system": "system", "backend": "framework", "backend_version": "version",
        "precision": "precision", "gemm_quant_mode": "gemm_dtype", "moe_quant_mode": "moe_dtype",
        "isl": "prompt", "osl": "output", "batch_size": "concurrency", "tp_size": "tp",
        "moe_tp_size": "moe_tp", "moe_ep_size": "moe_ep", "attention_dp_size": "attention_dp",
        "silicon_ttft_ms": "ttft_ms", "silicon_tpot_ms": "tpot_ms",
    }  # fmt: skip
    if not text:
        return empty(SERVING_POINTS)
    raw = pd.read_csv(io.StringIO(text))
    raw = raw[(raw["mode"] == "agg") & raw["system"].isin(SYSTEMS)].rename(columns={"id": "point", **columns})
    raw["device"] = raw["system"].map(SYSTEMS)
    # Of the two campaigns, the open sweep's points come from files named by their date.
    raw["sweep"] = raw["silicon_data_source"].astype(str).str.match(r"source_file=\d{4}-\d\d-\d\d\.csv")
    return raw[list(SERVING_POINTS.columns)].reset_index(drop=True)
