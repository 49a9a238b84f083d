"""Forecasts kept for GPUs: today's predictors make them where nothing was measured yet, and records name them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tilecast.evaluate.machine import kernels, models
from tilecast.hardware.device_file import load_device
from tilecast.measure.grid import FAMILIES, with_work
from tilecast.measure.models import read_study
from tilecast.measure.store import PLANS, digest, provenance, runs
from tilecast.predict.plan import KEPT, plan_models
from tilecast.predict.registry import load_predictor
from tilecast.tables.declared.measured import KERNEL_KEY, MEASURED, PLANNED_KERNELS, PLANNED_MODELS, WORKLOAD_KEY
from tilecast.tables.io import read

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = sorted(path.parent for path in (ROOT / "resources/measured").glob(f"*/{PLANS['kernels']}"))
GPUS = [folder for folder in FOLDERS if not folder.name.startswith("CPU_")]
UNMEASURED = [folder for folder in GPUS if not any(runs(folder, kind) for kind in MEASURED)]
AGAIN = (
    "delete the folder, then tilecast measure forecast --device {} --dtypes fp32,bf16,fp16,tf32 "
    "--study config/studies/live.yaml --output resources/measured"
)


def test_the_devices_that_are_lent_have_forecasts() -> None:
    assert {folder.name for folder in GPUS} >= {"NVIDIA_H100_80GB_HBM3", "NVIDIA_H200"}


@pytest.mark.parametrize("folder", GPUS, ids=lambda folder: folder.name)
def test_every_family_format_and_workload_is_forecast(folder: Path) -> None:
    plan = read(folder / PLANS["kernels"], PLANNED_KERNELS)
    assert set(plan["family"]) == set(FAMILIES) and set(plan["dtype"]) == {"fp32", "bf16", "fp16", "tf32"}
    assert (plan.groupby("family")["m"].agg(lambda m: (m % 8 != 0).mean()) > 0.1).all()  # unaligned shapes too
    forecast = read(folder / PLANS["models"], PLANNED_MODELS)
    known = set(forecast[list(WORKLOAD_KEY)].itertuples(index=False, name=None))
    assert {
        tuple(work[name] for name in WORKLOAD_KEY) for work in read_study(ROOT / "config/studies/live.yaml")
    } == known
    assert (folder / PLANS["kernels"]).stat().st_size + (folder / PLANS["models"]).stat().st_size < 1 << 20


@pytest.mark.parametrize("folder", UNMEASURED, ids=lambda folder: folder.name)
def test_what_nothing_was_measured_after_is_what_is_forecast_today(folder: Path) -> None:
    device, again = load_device(folder.name), AGAIN.format(folder.name)
    for name in KEPT:
        plan = read(folder / PLANS["kernels"], PLANNED_KERNELS, only=("predictor", name)).iloc[::97]
        plan = plan[plan["predictor"] == name].reset_index(drop=True)
        work = with_work(plan[list(KERNEL_KEY)].assign(shape=plan["shape"].fillna("")))
        today = load_predictor(name).predict(work, device)["latency_ms"].to_numpy(dtype=float)
        assert np.allclose(today, plan["predicted_ms"], rtol=1e-6), again
    works = [work for work in read_study(ROOT / "config/studies/live.yaml") if work["model"] == "gpt2"]
    today = plan_models(works[:1], device, [load_predictor(name) for name in KEPT])
    before = today[["predictor", *WORKLOAD_KEY]].merge(read(folder / PLANS["models"], PLANNED_MODELS))
    assert np.allclose(today["predicted_ms"], before["predicted_ms"], rtol=1e-6), again


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_was_measured_names_the_forecasts_kept(folder: Path) -> None:
    """Those of the record, which stay as they are whatever is forecast today; other ones are refused."""
    for kind, file in PLANS.items():
        for path in runs(folder, kind):
            named = provenance(path).get("forecasts_sha256")
            named = named.get(file) if isinstance(named, dict) else named
            assert named in (None, digest(folder / file))
    kernels(folder, "replayed")
    models(folder, "replayed")
