"""Named scenarios: forecast with and without communication, and what others measured; failures are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.base.documents import listed, read_yaml, shown
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.limits import check
from tilecast.hardware.device import Device, devices
from tilecast.hardware.system import System, load_system
from tilecast.models.registry import load_model
from tilecast.multigpu.layout import Layout, Work, layout_of
from tilecast.multigpu.step import Planner
from tilecast.predict.interval import total
from tilecast.predict.kernel import Predictor
from tilecast.tables.io import read
from tilecast.tables.scenarios import SCENARIOS
from tilecast.tables.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

COMMUNICATION = ("tp", "ep", "cp", "dp", "pp")
_KEYS = {"id", "title", "work", "system", "layout", "truth", "label"}
_WORK = {
    "model", "mode", "phase", "batch", "sequence", "context", "dtype", "attention", "optimizer", "fused",
}  # fmt: skip
_PLAIN = {"model", "mode", "batch", "sequence", "dtype"}  # a workload that the traced lists may hold


def read_scenarios(path: Path) -> list[dict[str, Any]]:
    """The checked entries of a scenario file, sources of truths written out."""
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("scenarios"), list):
        raise InputError(path, "has no list `scenarios`", "see config/studies/scenarios.yaml")
    sources = raw.get("sources") or {}
    found, names = [], set()
    for place, entry in enumerate(raw["scenarios"], 1):
        where = f"{path}, scenario {place}"
        if not isinstance(entry, dict) or not {"id", "title", "work", "system"} <= set(entry) <= _KEYS:
            raise InputError(where, "is not understood", f"it has id, title, work, system, and may have {_KEYS}")
        if not isinstance(entry["id"], str):
            raise InputError(where, "the id is no text", "give it a short name")
        if entry["id"] in names:
            raise InputError(where, f"the id {entry['id']!r} occurs twice", "rename one")
        names.add(entry["id"])
        work, layout = entry["work"], entry.get("layout") or {}
        known = {"work": _WORK, "layout": {field.name for field in fields(Layout)}}
        for part, given in (("work", work), ("layout", layout)):
            if not isinstance(given, dict) or not set(given) <= known[part]:
                raise InputError(where, f"`{part}` is not understood", f"it has {', '.join(sorted(known[part]))}")
        layout_of(layout, f"{where}, `layout`")
        for key, value in work.items():
            if key in ("batch", "sequence", "context"):
                check(key, value, f"{where}, `work.{key}`", 0 if key == "context" else 1)
            elif not isinstance(value, bool if key == "fused" else str):
                raise InputError(
                    where, f"`work.{key}` = {shown(value)} is not understood", "see docs/use/multigpu.md"
                )
        truths = []
        for truth in listed(entry.get("truth"), "truth", where):
            if (
                not isinstance(truth, dict)
                or not isinstance(truth.get("ms"), (int, float))
                or not 0 < truth["ms"] < 1e18
            ):
                raise InputError(where, "`truth` is not understood", "each has ms, above zero, and source")
            source = str(truth.get("source", ""))
            if not source:
                raise InputError(where, "a `truth` has no source", "say who measured it")
            truths.append((float(truth["ms"]), str(sources.get(source, source))))
        found.append(entry | {"layout": layout, "truth": truths})
    return found


def evaluate(
    scenarios: list[dict[str, Any]],
    predictor: Predictor,
    labels: pd.DataFrame | None,
    lists: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """The `scenarios` table; `labels` are measured cells, `lists` kernel lists of models in fp32 traced before."""
    import pandas as pd

    rows, known = [], devices()
    for entry in scenarios:
        row: dict[str, Any] = {"id": entry["id"], "title": entry["title"], "outcome": "forecast", "reason": None}
        low, high, source = _truth(entry, labels)
        row |= {"truth_low_ms": low, "truth_high_ms": high, "truth_source": source}
        try:
            system = load_system(entry["system"])
            device = known[system.device]
            layout = Layout(**entry["layout"])
            row |= {"device": device.name, "layout": layout.label}
            row |= _forecast(entry, predictor, system, device, layout, lists or {})
        except TilecastError as error:
            row |= {"outcome": "failed", "reason": str(error), "device": row.get("device", entry["system"])}
            row.setdefault("layout", str(entry["layout"]))
        for name, part in (("ape_percent", "latency_ms"), ("compute_ape_percent", "compute_ms")):
            row[name] = _error(row.get(part), low, high)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(TABLES[SCENARIOS].columns))


def _truth(entry: Mapping[str, Any], labels: pd.DataFrame | None) -> tuple[float | None, float | None, str | None]:
    """Least and greatest of what others measured, and who."""
    if entry["truth"]:
        values = [value for value, _ in entry["truth"]]
        return min(values), max(values), "; ".join(dict.fromkeys(source for _, source in entry["truth"]))
    label, work = entry.get("label"), entry["work"]
    if label is None or labels is None:
        return None, None, None
    wanted = {
        "device": label["device"],
        "model": work["model"],
        "mode": work.get("mode", "inference"),
        "sequence_length": work["sequence"],
        "batch_size": work.get("batch", 1),
        "option": label.get("option", "none"),
    }
    found = labels
    for name, value in wanted.items():
        found = found[found[name] == value]
    if found.empty:
        return None, None, None
    value = float(found["latency_ms"].iloc[0])
    return value, value, f"the artifact's {Path(str(found['source'].iloc[0])).name}"


def _error(forecast: float | None, low: float | None, high: float | None) -> float | None:
    """Percent off the middle of what was measured."""
    if forecast is None or low is None or high is None:
        return None
    middle = (low + high) / 2
    return 100 * abs(forecast / middle - 1)


def _forecast(
    entry: Mapping[str, Any],
    predictor: Predictor,
    system: System,
    device: Device,
    layout: Layout,
    lists: Mapping[str, Path],
) -> dict[str, Any]:
    given = entry["work"]
    cell = f"{given['model']}-{given.get('mode', 'inference')}-{given['sequence']}-{given.get('batch', 1)}"
    if layout.gpus == 1 and not set(given) - _PLAIN and cell in lists:
        return _of_list(read(lists[cell], "kernel_list"), predictor, device)
    options = {name: value for name, value in given.items() if name not in ("model", "batch", "sequence")}
    options = {"mode": "inference", "dtype": "fp32"} | options
    work = Work(load_model(given["model"]), given.get("batch", 1), given["sequence"], **options)
    planner = Planner(work, system, device, predictor)
    step = planner.step(layout)
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
