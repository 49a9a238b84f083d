"""Errors of the experts study's model against measurements that others published.

Two kinds of measurement: the all-to-all exchange of tokens, and decoding with experts fetched from host memory.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import product
from math import prod, sqrt
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Section, validated
from tilecast.base.statistics import error_percent
from tilecast.evaluate.statistics import error_summary
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.moe.exchange import FP8_ELEMENT_BYTES, HIGH_THROUGHPUT, exchange, reached
from tilecast.moe.model import ACTIVATION_BYTES, moe_model
from tilecast.moe.offload import ON_DEMAND
from tilecast.moe.step import Decoder, Step, spread
from tilecast.moe.stream import distinct
from tilecast.moe.study import Inputs, decoder
from tilecast.tables.declared.moe import GAINS

# Every measured exchange routes as DeepSeek-V3 does: 256 experts in 8 groups, a token's 8 experts in 4 of them.
HIDDEN, TOP_K, EXPERTS = 7168, 8, 256
GROUPS = (8, 4)
MOST_CASES = 64  # of what a published time leaves open
ELEMENT_BYTES = {"dispatch": FP8_ELEMENT_BYTES, "combine": float(ACTIVATION_BYTES)}


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


class Method(Section):
    """A serving system: inputs of the model that its source states, and the values that the others may have."""

    given: dict[str, Any]
    unstated: dict[str, list[Any]] = Field(default_factory=dict)


class Setting(Section):
    """A serving system with a model on a GPU."""

    device: str
    model: str
    method: str
    batch: Annotated[int, Field(ge=1, le=100_000)] = 1


class Anchor(Setting):
    """A published time of a decoding step."""

    id: str
    source: str
    time_ms: Annotated[float, Field(gt=0, le=1e9)]
    judged: bool = True
    difference: str = ""


class Gain(Section):
    """A gain that a source states; of which two anchors, or over the same system without prefetching."""

    source: str
    what: str
    gain: Annotated[float, Field(gt=0, le=1e6)]
    before: str | None = None
    after: str | None = None
    prefetching: Setting | None = None


class Anchors(Section):
    """The whole file."""

    sources: dict[str, str]
    methods: dict[str, Method]
    anchors: list[Anchor]
    gains: list[Gain]


def load_anchors(path: str | Path) -> Anchors:
    """Read a file of published times; refuse names it does not hold, and inputs the model does not have."""
    found = validated(Anchors, read_yaml(path), path, "docs/use/experts.md describes it")
    known = {entry.id for entry in found.anchors}
    settings = [*found.anchors, *(entry.prefetching for entry in found.gains if entry.prefetching)]
    named: list[tuple[Collection[str], str | None]] = [(found.methods, entry.method) for entry in settings]
    named += [(found.sources, entry.source) for entry in found.anchors]
    named += [(found.sources, entry.source) for entry in found.gains]
    named += [(known, end) for entry in found.gains for end in (entry.before, entry.after) if end]
    for group, name in named:
        if name not in group:
            raise InputError(path, f"{name!r} is named and not described", f"expected one of {', '.join(group)}")
    for name, method in found.methods.items():
        if prod(map(len, method.unstated.values())) > MOST_CASES:
            raise InputError(path, f"method {name} has more than {MOST_CASES} cases", "leave less open")
        for values in product(*method.unstated.values()):
            _ = _inputs(path, method, values).serving
    return found


def _inputs(path: str | Path, method: Method, values: tuple[Any, ...], batch: int = 1) -> Inputs:
    chosen = method.given | dict(zip(method.unstated, values, strict=True)) | {"tokens_per_gpu": batch}
    return Inputs().changed(path, **chosen)


def anchors(path: str | Path) -> pd.DataFrame:
    """Published time of a decoding step beside the model's, over all values of what its source leaves open."""
    found = load_anchors(path)
    return pd.DataFrame([_anchor(path, found, entry) for entry in found.anchors])


def gains(path: str | Path, anchored: pd.DataFrame) -> pd.DataFrame:
    """Gains that others state, the model's for the same two systems, and what of it is prefetching's own."""
    file, found, rows = load_anchors(path), anchored.set_index("id"), []
    for entry in file.gains:
        row = {"source": file.sources[entry.source], "what": entry.what, "gain": entry.gain}
        if entry.before is not None and entry.after is not None:
            before, after = found.loc[entry.before], found.loc[entry.after]
            row["model_gain"] = before["forecast_ms"] / after["forecast_ms"]
            row |= {name: after[name] for name in _OWN}
        if entry.prefetching:
            own, _ = _played(path, file, entry.prefetching)
            row |= own | {"model_gain": sqrt(own["prefetching_low"] * own["prefetching_high"])}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(GAINS.columns))


_OWN = ("kept_share", "transfer_over_compute", "prefetching_low", "prefetching_high")


def _anchor(path: str | Path, file: Anchors, entry: Anchor) -> dict[str, Any]:
    own, times = _played(path, file, entry)
    forecast_ms = sqrt(times[0] * times[-1])
    nearest_ms = min(max(entry.time_ms, times[0]), times[-1])  # within the range: the measurement itself
    return {
        "id": entry.id,
        "source": file.sources[entry.source],
        "gpu": load_device(entry.device).title,
        "model": moe_model(entry.model).title,
        "method": entry.method,
        "batch": entry.batch,
        "judged": entry.judged,
        "measured_ms": entry.time_ms,
        "fastest_ms": times[0],
        "slowest_ms": times[-1],
        "forecast_ms": forecast_ms,
        "factor": max(entry.time_ms / forecast_ms, forecast_ms / entry.time_ms),
        "measured_over_model": entry.time_ms / nearest_ms,
        **own,
        "difference": entry.difference,
    }


def _played(path: str | Path, file: Anchors, setting: Setting) -> tuple[dict[str, float], list[float]]:
    """What of its times is prefetching's own, and milliseconds of a step over all that is not stated."""
    method, alone, cases = file.methods[setting.method], spread(1, 1), []
    for values in product(*method.unstated.values()):
        inputs = _inputs(path, method, values, setting.batch)
        asked = decoder(
            setting.model, None, setting.device, "a100_sxm", inputs
        )  # one GPU: its links carry nothing
        kept = asked.place(alone, setting.batch, inputs.serving).resident_share
        demand, fetched = (
            asked.step(alone, setting.batch, replace(inputs.serving, predictor=predictor), kept)
            for predictor in (ON_DEMAND, inputs.serving.predictor)
        )
        gain = demand.total_ms / fetched.total_ms
        cases.append((fetched.total_ms, kept, _needed_over_running(asked, fetched, inputs), gain))
    times, shares, ratios, gained = (sorted(column) for column in zip(*cases, strict=True))
    own = ((shares[0] + shares[-1]) / 2, sqrt(ratios[0] * ratios[-1]), gained[0], gained[-1])
    return dict(zip(_OWN, own, strict=True)), times


def _needed_over_running(asked: Decoder, step: Step, inputs: Inputs) -> float:
    """Time for the experts that a step needs to cross the link, over the time of the step without waiting."""
    count, piece_s = asked.host_link(spread(1, 1), inputs.serving).pieces(asked.model.expert_bytes)
    needed = distinct(asked.stream(inputs.serving, inputs.tokens_per_gpu), 1, asked.model.experts)
    return 1e3 * asked.model.layers * needed * count * piece_s / step.running_ms
