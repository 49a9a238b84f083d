"""Named scenarios: forecast with and without communication, and what others measured; failures are counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.inputs import Section, validated
from tilecast.base.statistics import absolute_error_percent
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices
from tilecast.hardware.system import System, load_system
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.interval import total
from tilecast.predict.kernel import Predictor
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.declared.measured import SCENARIOS
from tilecast.tables.io import read

COMMUNICATION = ("tp", "ep", "cp", "dp", "pp")


class _Truth(Section):
    ms: Annotated[float, Field(gt=0, lt=1e18)]
    source: Annotated[str, Field(min_length=1)]


class _Label(Section):
    device: str
    option: str = "none"


class _Scenario(Section):
    id: str
    title: str
    work: Workload
    system: str
    layout: Layout = Layout()
    truth: list[_Truth] = Field(default_factory=list)
    label: _Label | None = None


class _File(Section):
    scenarios: list[_Scenario]
    sources: dict[str, str] = Field(default_factory=dict)


def read_scenarios(path: Path) -> list[dict[str, Any]]:
    """The checked entries of a scenario file, sources of truths written out."""
    file = validated(_File, read_yaml(path), path, "see config/studies/scenarios.yaml")
    found: dict[str, dict[str, Any]] = {}
    for entry in file.scenarios:
        if entry.id in found:
            raise InputError(path, f"the id {entry.id!r} occurs twice", "rename one")
        truths = [(truth.ms, file.sources.get(truth.source, truth.source)) for truth in entry.truth]
        found[entry.id] = dict(entry) | {"truth": truths}
    return list(found.values())


def evaluate(
    scenarios: list[dict[str, Any]],
    predictor: Predictor,
    labels: pd.DataFrame | None,
    lists: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """The `scenarios` table; `labels` are measured cells, `lists` kernel lists of models in fp32 traced before."""
    rows, known = [], devices()
    for entry in scenarios:
        row: dict[str, Any] = {"id": entry["id"], "title": entry["title"], "outcome": "forecast", "reason": None}
        low, high, source = _truth(entry, labels)
        row |= {"truth_low_ms": low, "truth_high_ms": high, "truth_source": source}
        try:
            system = load_system(entry["system"])
            device = known[system.device]
            row |= {"device": device.name, "layout": entry["layout"].label}
            row |= _forecast(entry["work"], predictor, system, device, entry["layout"], lists or {})
        except TilecastError as error:
            row |= {"outcome": "failed", "reason": str(error), "device": row.get("device", entry["system"])}
            row.setdefault("layout", entry["layout"].label)
        for name, part in (("ape_percent", "latency_ms"), ("compute_ape_percent", "compute_ms")):
            row[name] = _error(row.get(part), low, high)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(SCENARIOS.columns))


def _truth(entry: Mapping[str, Any], labels: pd.DataFrame | None) -> tuple[float | None, float | None, str | None]:
    """Least and greatest of what others measured, and who."""
    if entry["truth"]:
        values = [value for value, _ in entry["truth"]]
        return min(values), max(values), "; ".join(dict.fromkeys(source for _, source in entry["truth"]))
    label, work = entry["label"], entry["work"]
    if label is None or labels is None:
        return None, None, None
    wanted = {
        "device": label.device,
        "model": work.spec.name,
        "mode": work.mode,
        "sequence_length": work.sequence_length,
        "batch_size": work.batch_size,
        "option": label.option,
    }
    found = labels[(labels[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if found.empty:
        return None, None, None
    value = float(found["latency_ms"].iloc[0])
    return value, value, f"the artifact's {Path(str(found['source'].iloc[0])).name}"


def _error(forecast: float | None, low: float | None, high: float | None) -> float | None:
    """Percent off the middle of what was measured."""
    if forecast is None or low is None or high is None:
        return None
    return float(absolute_error_percent(forecast, (low + high) / 2))


def _forecast(
    work: Workload,
    predictor: Predictor,
    system: System,
    device: Device,
    layout: Layout,
    lists: Mapping[str, Path],
) -> dict[str, Any]:
    if layout.gpus == 1 and work.cell and str(work.cell) in lists:
        return _of_list(read(lists[str(work.cell)], KERNEL_LIST), predictor, device)
    forecaster = StepForecaster(work, system, device, predictor)
    step = forecaster.step(layout)
    if not step.memory.fits:
        raise InputError(f"{device.memory_bytes / 1e9:.0f} GB a GPU", step.memory.verdict, "it needs more GPUs")
    sent = sum(step.parts[name] for name in COMMUNICATION)
    ends = {"latency_ms": step.latency_ms, "low_ms": step.low_ms, "high_ms": step.high_ms}
    return ends | {"compute_ms": step.latency_ms - sent}


def _of_list(kernels: pd.DataFrame, predictor: Predictor, device: Device) -> dict[str, Any]:
    """What one GPU needs for a traced model's kernels."""
    found = predictor.predict(kernels, device)
    often = kernels["count"].to_numpy(dtype=float)
    middle, low, high = (found[name].to_numpy(dtype=float) * often for name in ("latency_ms", "low_ms", "high_ms"))
    latency, least, most = total(middle, low, high, kernels["family"].to_numpy())
    return {"compute_ms": latency, "latency_ms": latency, "low_ms": least, "high_ms": most}
