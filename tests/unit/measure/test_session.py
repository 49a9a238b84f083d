"""Measuring under a fake device: budget, order, resumption, failures, and what is on disk after each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("torch")

from tilecast.base.errors import InputError, TilecastError
from tilecast.measure.backend import DeviceLost, LaunchRecord, guarded
from tilecast.measure.grid import grid
from tilecast.measure.session import distinct, measure_kernels, records
from tilecast.measure.store import Run, done, load_run, provenance, runs
from tilecast.tables.declared.measured import KERNEL_KEY, MEASURED_KERNELS
from tilecast.tables.io import write


class Fake:
    """A device whose clock the test moves; an action returns its own milliseconds."""

    name, title, kind, place = "FAKE", "a fake", "cuda", "cuda:0"
    resolution_ms, memory_bytes = 0.001, 1e12
    dtypes: tuple[str, ...] = ("fp32", "bf16")

    def __init__(self) -> None:
        self.now = 0.0
        self.freed = 0

    def time(self, action: Callable[[], Any], repetitions: int, flush: bool, before: Any = None) -> list[float]:
        samples = [float(action()) * (2 if flush else 1) for _ in range(repetitions)]
        self.now += sum(samples) / 1e3
        return samples

    def graphed(self, action: Callable[[], Any]) -> Callable[[], Any]:
        return action

    def synchronize(self) -> None: ...

    def answers(self) -> bool:
        return False

    def launches(self, action: Callable[[], Any]) -> list[LaunchRecord]:
        return [LaunchRecord("fill", 0, 0.1), LaunchRecord("main", 0.1, 0.9, "8x1x1", "256x1x1")]

    def state(self) -> dict[str, float | None]:
        return {"clock_hz": 1.5e9, "power_w": 100.0, "temperature_c": 50.0}

    def facts(self) -> dict[str, Any]:
        return {"driver": "1.2", "notes": []}

    def precision(self, dtype: str) -> None: ...

    def peak_memory_bytes(self) -> float | None:
        return None

    def free(self) -> None:
        self.freed += 1


def plan(count: int = 12) -> pd.DataFrame:
    kernels = grid(["fp32"], ["softmax", "bmm"], each=count // 2)
    return kernels.assign(rank=range(len(kernels)), predictor="tilecast", predicted_ms=1.0)


def steady(row: dict[str, Any], place: str) -> Callable[[], float]:
    return lambda: 2.0


def run(
    fake: Fake, folder: Path, action: Any = steady, budget_s: float = 100.0, kernels: Any = None
) -> dict[str, Any]:
    todo = plan() if kernels is None else kernels
    started = Run(fake, folder, "kernels", {"command": "test"})
    done = measure_kernels(fake, todo, started, budget_s, clock=lambda: fake.now, action=action)
    return done | {"path": started.path}


def kernel_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple("" if row[name] != row[name] else row[name] for name in KERNEL_KEY)


def kept(folder: Path) -> pd.DataFrame:
    """The kernels of all runs on a device."""
    return pd.concat([load_run(path, "kernels") for path in runs(folder, "kernels")], ignore_index=True)


def test_a_run_holds_what_was_timed_and_under_which_circumstances(tmp_path: Path) -> None:
    result = run(Fake(), tmp_path / "FAKE")
    assert (result["measured"], result["left"], result["known"]) == (12, 0, 0)
    found = kept(tmp_path / "FAKE")
    assert len(found) == 12 and set(found["device"]) == {"FAKE"} and set(found["run"]) == {"kernels-001"}
    row = found.iloc[0]
    assert (row["latency_ms"], row["warm_ms"], row["repetitions"]) == (4.0, 2.0, 25)
    assert (row["kernel_name"], row["grid"], row["block"]) == ("main", "8x1x1", "256x1x1")
    assert (row["clock_hz"], row["power_w"], row["temperature_c"]) == (1.5e9, 100.0, 50.0)
    record = provenance(result["path"])
    assert record["status"] == "complete" and record["rows"] == 12 and record["facts"]["driver"] == "1.2"
    assert record["versions"]["torch"] and record["started"].endswith("Z")


def test_a_second_run_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "FAKE"
    first = run(Fake(), folder, budget_s=0.3)
    assert 0 < first["measured"] < 12 and first["left"] == 12 - first["measured"]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    second = run(Fake(), folder)
    assert second["known"] == first["measured"] and second["measured"] == 12 - first["measured"]
    assert run(Fake(), folder)["measured"] == 0
    assert all(path.read_bytes() == data for path, data in before.items())
    found = kept(tmp_path / "FAKE")
    assert len(found) == 12 and len(done(folder, "kernels")) == 12 == len(
        {kernel_key(row) for row in records(found)}
    )


def test_the_plans_order_is_kept_and_what_is_too_long_waits(tmp_path: Path) -> None:
    todo = plan()
    todo.loc[0, "predicted_ms"] = 60_000.0
    result = run(Fake(), tmp_path / "FAKE", kernels=todo)
    assert result["too_long"] == 1 and result["left"] == 1
    found = kept(tmp_path / "FAKE")
    assert [kernel_key(row) for row in records(found)] == [kernel_key(row) for row in records(todo)][1:]


def test_a_kernel_without_room_or_way_to_run_is_a_row_of_its_own(tmp_path: Path) -> None:
    def action(row: dict[str, Any], place: str) -> Callable[[], float]:
        if row["family"] == "bmm":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if row["b"] % 2:
            raise RuntimeError('"softmax" not implemented for these shapes\nmore')
        return lambda: 2.0

    fake = Fake()
    result = run(fake, tmp_path / "FAKE", action)
    found = kept(tmp_path / "FAKE").set_index("outcome")
    assert result["out of memory"] == 6 == len(found.loc[["out of memory"]]) <= fake.freed
    assert found.loc[["out of memory"]]["reason"].str.contains("20.00 GiB").all()
    assert found.loc[["out of memory"]]["latency_ms"].isna().all()
    assert result["failed"] + result["measured"] == 6
    if result["failed"]:
        assert found.loc[["failed"]]["reason"].iloc[0].startswith('RuntimeError: "softmax"')


def test_what_cannot_fit_is_not_tried(tmp_path: Path) -> None:
    fake = Fake()
    fake.memory_bytes = 10.0
    result = run(fake, tmp_path / "FAKE", action=None)
    assert result["out of memory"] == 12
    assert "may be used" in kept(tmp_path / "FAKE")["reason"].iloc[0]


@pytest.mark.parametrize("failure", [RuntimeError("CUDA error: unspecified launch failure"), KeyboardInterrupt()])
def test_a_device_that_vanishes_leaves_what_was_timed(tmp_path: Path, failure: BaseException) -> None:
    calls = []

    def action(row: dict[str, Any], place: str) -> Callable[[], float]:
        calls.append(row)
        if len(calls) == 5:
            raise failure
        return lambda: 2.0

    folder = tmp_path / "FAKE"
    with pytest.raises((DeviceLost, KeyboardInterrupt)) as caught:
        run(Fake(), folder, action)
    if caught.type is DeviceLost:
        assert "the device was lost" in str(caught.value) and "\n" not in str(caught.value)
    path = folder / "kernels-001.parquet"
    outcomes = ["measured"] * 4 + ["failed"] * (caught.type is DeviceLost)  # what lost it is not tried again
    assert list(load_run(path, "kernels")["outcome"]) == outcomes
    assert provenance(path)["status"] == "interrupted"
    assert run(Fake(), folder)["known"] == len(outcomes)


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_no_budget_is_refused_and_nothing_touched(tmp_path: Path, budget: float) -> None:
    folder = tmp_path / "FAKE"
    run(Fake(), folder, budget_s=0.3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match="leaves no time"):
        run(Fake(), folder, budget_s=budget)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_foreign_or_changed_file_is_refused_before_anything_is_timed(tmp_path: Path) -> None:
    folder = tmp_path / "FAKE"
    path = run(Fake(), folder, budget_s=0.3)["path"]
    good, record = path.read_bytes(), path.with_suffix(".json").read_text()
    pd.DataFrame({"colour": ["red"]}).to_parquet(path)
    with pytest.raises(InputError, match="checksum differs"):
        run(Fake(), folder)
    broken = json.loads(record) | {"status": "interrupted"}
    path.with_suffix(".json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match="column family, op"):
        run(Fake(), folder)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="restore the provenance record"):
        run(Fake(), folder)
    path.write_bytes(good)
    path.with_suffix(".json").write_text(record)
    assert run(Fake(), folder)["known"] > 0
    assert len(runs(folder, "kernels")) == 2


def test_a_measured_table_is_checked_on_the_way_in(tmp_path: Path) -> None:
    run(Fake(), tmp_path / "FAKE")
    found = kept(tmp_path / "FAKE").drop(columns=["device", "run"])
    with pytest.raises(InputError, match="occurs twice"):
        write(pd.concat([found, found]), tmp_path / "twice.parquet", MEASURED_KERNELS)
    with pytest.raises(InputError, match="more than"):
        write(found.assign(latency_ms=-1.0), tmp_path / "negative.parquet", MEASURED_KERNELS)


def test_one_kernel_forecast_by_two_is_measured_once() -> None:
    both = pd.concat([plan(), plan().assign(predictor="roofline", predicted_ms=9.0)])
    assert len(distinct(both)) == 12
    assert set(distinct(both)["predicted_ms"]) == {9.0}
    assert list(distinct(both)["rank"]) == list(range(12))


def test_our_own_mistakes_pass_through_the_guard() -> None:
    with pytest.raises(TilecastError, match="mine"), guarded("a kernel", Fake()):
        raise InputError("mine", "is wrong")
