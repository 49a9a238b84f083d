"""Errors of the experts study's model against measurements that others published.

Two kinds of measurement: the all-to-all exchange of tokens, and decoding with experts fetched from host memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.statistics import error_percent
from tilecast.evaluate.statistics import error_summary
from tilecast.graph.routing import Routing
from tilecast.hardware.system import load_system
from tilecast.moe.exchange import FP8_ELEMENT_BYTES, HIGH_THROUGHPUT, exchange, reached
from tilecast.moe.model import ACTIVATION_BYTES, moe_model
from tilecast.moe.offload import LARGEST_GAIN, ON_DEMAND, Predictor
from tilecast.moe.placement import Spread, place
from tilecast.moe.step import Gpu, Shares, decode

# Every measured exchange routes as DeepSeek-V3 does: 256 experts in 8 groups, a token's 8 experts in 4 of them.
HIDDEN, TOP_K, EXPERTS = 7168, 8, 256
GROUPS = (8, 4)
ELEMENT_BYTES = {"dispatch": FP8_ELEMENT_BYTES, "combine": float(ACTIVATION_BYTES)}
CONTEXT_TOKENS = 512  # ASSUME: of the sequence that the offloading measurements decode


def all_to_all(measured: pd.DataFrame) -> pd.DataFrame:
    """Measured and forecast microseconds of each exchange and direction, with the error.

    A source that gives a rate counts all bytes that arrive, those of the GPU itself too.
    """
    rows = []
    for entry in measured.to_dict("records"):
        gpus, tokens, kernel = int(entry["gpus"]), int(entry["tokens"]), str(entry["kernel"])
        system = load_system(str(entry["system"]))
        nodes = -(-gpus // system.gpus_per_node)
        groups = GROUPS if nodes > 1 and kernel == HIGH_THROUGHPUT else (1, 1)
        found = exchange(
            system,
            range(gpus),
            tokens,
            hidden=HIDDEN,
            top_k=TOP_K,
            experts=EXPERTS,
            dispatch_bytes=ELEMENT_BYTES["dispatch"],
            combine_bytes=ELEMENT_BYTES["combine"],
            kernel=kernel,
            groups=groups,
        )
        elements = tokens * HIDDEN * reached(nodes if nodes > 1 else gpus, TOP_K, EXPERTS, groups)
        for direction, forecast_ms in (("dispatch", found.dispatch_ms), ("combine", found.combine_ms)):
            rate, measured_us = entry[f"{direction}_bytes_per_s"], entry[f"{direction}_us"]
            if not pd.isna(rate):
                measured_us = elements * ELEMENT_BYTES[direction] / rate * 1e6
            rows.append(
                {
                    "system": entry["system"],
                    "kernel": kernel,
                    "gpus": gpus,
                    "tokens": tokens,
                    "direction": direction,
                    "links": "NVLink" if nodes == 1 else "network",
                    "in_use": bool(entry["in_use"]),
                    "measured_us": measured_us,
                    "predicted_us": 1e3 * forecast_ms,
                    "error_percent": error_percent(1e3 * forecast_ms, measured_us),
                    "source": entry["source"],
                }
            )
    return pd.DataFrame(rows)


def all_to_all_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst absolute error by links and kernel: of the sizes a kernel is used for, and of all sizes."""
    result = []
    for sizes, part in (("in use", rows[rows["in_use"]]), ("all", rows)):
        for links in ("NVLink", "network"):
            linked = part[part["links"] == links]
            for kernel in ("all", *sorted(linked["kernel"].unique())):
                errors = (linked if kernel == "all" else linked[linked["kernel"] == kernel])["error_percent"]
                result.append({"links": links, "kernel": kernel, "sizes": sizes} | error_summary(errors))
    return pd.DataFrame(result)[["links", "kernel", "sizes", "n", "mape_percent", "worst_percent"]]


def anchors(path: str | Path, shares: Shares, reserved_bytes: float) -> pd.DataFrame:
    """Measured time of one decoding step beside the model's range for the method used."""
    with _anchor_file(path) as raw:
        return pd.DataFrame([_anchor(raw, entry, shares, reserved_bytes) for entry in raw["anchors"]])


def gains(path: str | Path) -> pd.DataFrame:
    """Gains of prefetching that others state, beside the largest gain that hiding transfers can give."""
    with _anchor_file(path) as raw:
        return pd.DataFrame(
            {
                "source": raw["sources"][entry["source"]],
                "what": entry["what"],
                "gain": float(entry["gain"]),
                "largest_gain": LARGEST_GAIN,
                "overlap_alone_can_give_it": float(entry["gain"]) <= LARGEST_GAIN,
            }
            for entry in raw["gains"]
        )


@contextmanager
def _anchor_file(path: str | Path) -> Iterator[Any]:
    """The content of an anchor file; what is missing or wrong in it becomes one line."""
    raw = read_yaml(path)
    try:
        yield raw
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"is not a file of anchors ({error!r})", "see docs/use/experts.md") from None


def _anchor(raw: dict[str, Any], entry: dict[str, Any], shares: Shares, reserved_bytes: float) -> dict[str, Any]:
    peak = raw["gpus"][entry["gpu"]]
    gpu = Gpu(
        float(peak["memory_bytes"]),
        float(peak["flops_per_s"]) * shares.matrix,
        float(peak["bandwidth_bytes_per_s"]) * shares.memory,
        float(peak["host_bytes_per_s"]) * shares.host,
    )
    model, method, spread = moe_model(str(entry["model"])), entry["method"], Spread(1, 1)
    placement = place(
        model,
        spread,
        gpu.memory_bytes,
        tokens=1,
        context_tokens=CONTEXT_TOKENS,
        reserved_bytes=reserved_bytes,
        host_bytes=1e15,
    )
    on_demand_ms, perfect_ms = (
        decode(
            model,
            gpu,
            load_system("a100_sxm"),  # one GPU sends nothing
            spread,
            placement,
            tokens_per_gpu=1,
            context_tokens=CONTEXT_TOKENS,
            routing=Routing(),
            predictor=predictor,
        ).total_ms
        for predictor in (ON_DEMAND, Predictor(1.0, 1.0))
    )
    slowest_ms, fastest_ms = on_demand_ms, perfect_ms
    if method == "whole layers":  # every expert of every layer passed crosses the link, needed or not
        moved_ms = model.layers * model.experts * model.expert_bytes / gpu.host_bytes_per_s * 1e3
        slowest_ms = fastest_ms = max(moved_ms, on_demand_ms)
    elif method == "on demand":
        fastest_ms = on_demand_ms
    measured_ms = float(entry["time_ms"])
    nearest_ms = min(max(measured_ms, fastest_ms), slowest_ms)  # within the range: the measurement itself
    return {
        "source": raw["sources"][entry["source"]],
        "gpu": entry["gpu"],
        "model": model.title,
        "method": method,
        "measured_ms": measured_ms,
        "fastest_ms": fastest_ms,
        "slowest_ms": slowest_ms,
        "measured_over_model": measured_ms / nearest_ms,
        "placement": placement.reason,
    }
