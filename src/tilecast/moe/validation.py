"""The physical model held against what others measured: all-to-all kernels, and tokens from offloaded experts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.graph.routing import Routing
from tilecast.hardware.system import load_system
from tilecast.moe.exchange import FP8_ELEMENT_BYTES, HIGH_THROUGHPUT, Exchange, exchange, reached
from tilecast.moe.model import ACTIVATION_BYTES, MoeModel, moe_model
from tilecast.moe.offload import LARGEST_GAIN, ON_DEMAND, Predictor
from tilecast.moe.placement import Spread, place
from tilecast.moe.step import Gpu, Shares, Step, decode

# The routing of every row: DeepSeek-V3's shape. Its experts come in 8 groups, of which across nodes a token has 4.
HIDDEN, TOP_K, EXPERTS = 7168, 8, 256
GROUPS = (8, 4)
ELEMENT_BYTES = {"dispatch": FP8_ELEMENT_BYTES, "combine": float(ACTIVATION_BYTES)}


def all_to_all(measured: pd.DataFrame) -> pd.DataFrame:
    """A row a measurement and direction: microseconds measured and forecast, and the error (`moe_alltoall`).

    Rows stated as a rate become a time by the bytes their source counts: all that arrive, a GPU's own too.
    """
    rows = []
    for entry in measured.to_dict("records"):
        gpus, tokens, kernel = int(entry["gpus"]), int(entry["tokens"]), str(entry["kernel"])
        system = load_system(str(entry["system"]))
        nodes = -(-gpus // system.gpus_per_node)
        groups = GROUPS if nodes > 1 and kernel == HIGH_THROUGHPUT else (1, 1)
        found: Exchange = exchange(
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
        counted = tokens * HIDDEN * reached(nodes if nodes > 1 else gpus, TOP_K, EXPERTS, groups)
        for direction, forecast_ms in (("dispatch", found.dispatch_ms), ("combine", found.combine_ms)):
            rate = entry[f"{direction}_bytes_per_s"]
            known = entry[f"{direction}_us"]
            took = known if rate != rate else counted * ELEMENT_BYTES[direction] / rate * 1e6
            rows.append(
                {
                    "system": entry["system"],
                    "kernel": kernel,
                    "gpus": gpus,
                    "tokens": tokens,
                    "direction": direction,
                    "links": "NVLink" if nodes == 1 else "network",
                    "in_use": bool(entry["in_use"]),
                    "measured_us": took,
                    "predicted_us": 1e3 * forecast_ms,
                    "error_percent": 100 * (1e3 * forecast_ms / took - 1),
                    "source": entry["source"],
                }
            )
    return pd.DataFrame(rows)


def all_to_all_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst absolute error by links and kernel, of the sizes a kernel is used for and of all."""
    result = []
    for name, part in (("in use", rows[rows["in_use"]]), ("all", rows)):
        for links in ("NVLink", "network"):
            linked = part[part["links"] == links]
            for kernel in ("all", *sorted(linked["kernel"].unique())):
                errors = (linked if kernel == "all" else linked[linked["kernel"] == kernel])["error_percent"].abs()
                result.append(
                    {
                        "links": links,
                        "kernel": kernel,
                        "sizes": name,
                        "n": len(errors),
                        "mape_percent": errors.mean(),
                        "worst_percent": errors.max(),
                    }
                )
    return pd.DataFrame(result)


def anchors(path: str | Path, shares: Shares, reserved_bytes: float) -> pd.DataFrame:
    """A row an end-to-end figure: what the model gives for the slowest and the fastest reading of the method."""
    raw = read_yaml(path)
    with _understood(path):
        return pd.DataFrame([_anchor(raw, entry, shares, reserved_bytes) for entry in raw["anchors"]])


@contextmanager
def _understood(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"is no file of anchors ({error!r})", "see docs/use/experts.md") from None


def _anchor(raw: dict[str, Any], entry: dict[str, Any], shares: Shares, reserved_bytes: float) -> dict[str, Any]:
    peak = raw["gpus"][entry["gpu"]]
    gpu = Gpu(
        float(peak["memory_bytes"]),
        float(peak["flops_per_s"]) * shares.matrix,
        float(peak["bandwidth_bytes_per_s"]) * shares.memory,
        float(peak["host_bytes_per_s"]) * shares.host,
    )
    model = moe_model(entry["model"])
    placement, on_demand, perfect = _alone(model, gpu, reserved_bytes)
    method = entry["method"]
    if method == "whole layers":  # every expert of every layer passed crosses the link, whatever is needed
        moved = model.layers * model.experts * model.expert_bytes / gpu.host_bytes_per_s * 1e3
        slow = fast = max(moved, on_demand.total_ms)
    else:
        slow, fast = on_demand.total_ms, on_demand.total_ms if method == "on demand" else perfect.total_ms
    known = float(entry["time_ms"])
    off = known / slow if known > slow else known / fast if known < fast else 1.0
    return {
        "source": raw["sources"][entry["source"]],
        "gpu": entry["gpu"],
        "model": model.title,
        "method": method,
        "measured_ms": known,
        "fastest_ms": fast,
        "slowest_ms": slow,
        "measured_over_model": off,
        "placement": placement,
    }


def _alone(model: MoeModel, gpu: Gpu, reserved_bytes: float) -> tuple[str, Step, Step]:
    """One GPU, one sequence: placement in words, a step on demand, one with a predictor that is always right."""
    spread = Spread(1, 1)
    shape = {"context_tokens": 512}
    placement = place(
        model, spread, gpu.memory_bytes, tokens=1, reserved_bytes=reserved_bytes, host_bytes=1e15, **shape
    )
    system = load_system("a100_sxm")  # one GPU sends nothing
    both = [
        decode(
            model,
            gpu,
            system,
            spread,
            placement,
            tokens_per_gpu=1,
            routing=Routing(),
            predictor=predictor,
            **shape,
        )
        for predictor in (ON_DEMAND, Predictor(1.0, 1.0))
    ]
    return placement.reason, both[0], both[1]


def gains(path: str | Path) -> pd.DataFrame:
    """Gains of prefetching that others state, beside the most that hiding behind computation can give."""
    raw = read_yaml(path)
    with _understood(path):
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
