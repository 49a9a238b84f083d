"""The worked examples: the file is checked, the record is today's forecast, sensitivity has the right signs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tilecast.base.errors import InputError
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.planner import study
from tilecast.planner.sensitivity import CHANGES, SERVING_CHANGES, Case, ServingCase, tornado
from tilecast.predict.baselines.roofline import Roofline
from tilecast.predict.registry import load_predictor
from tilecast.tables.declared.multigpu import STUDY

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "config/studies/multigpu.yaml"
RECORD = ROOT / "resources/studies/multigpu"


@lru_cache(maxsize=1)
def moved() -> dict[tuple[str, str], dict[str, float]]:
    """The tornado of a small training step on two nodes, by figure and assumption."""
    system = load_system("dgx_h100")
    work = Workload(
        load_model("gpt2_large"),
        32,
        1024,
        "training",
        dtype="bf16",
        attention="fused",
        optimizer="adam",
        fused=True,
    )
    case = Case(work, system, load_device(system.device), Roofline(), Layout(dp=4, tp=4, microbatch=4))
    return {(row["figure"], row["assumption"]): dict(row) for row in tornado(case)}  # type: ignore[misc,call-overload]


def serving_case() -> ServingCase:
    """The serving example at its own layout."""
    part = study.load_study(FILE).serving
    return ServingCase(*study.serving_of(part, load_prices()).asked(part.layout))


def test_the_study_file_is_understood() -> None:
    read = study.load_study(FILE)
    assert read.training.layout.gpus == read.training.gpus == 1024


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.pop("serving"), "`serving` is missing"),
        (lambda raw: raw["training"].pop("tokens"), "`training.tokens` is missing"),
        (lambda raw: raw["training"]["layout"].update(tp=4), "needs 512 GPUs"),
        (lambda raw: raw["serving"]["layout"].update(colour=4), "unknown key `serving.layout.colour`"),
    ],
)
def test_a_bad_study_is_one_line(tmp_path: Path, change: Callable[[dict], object], words: str) -> None:
    raw = yaml.safe_load(FILE.read_text())
    change(raw)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError) as caught:
        study.load_study(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_record_is_todays_forecast() -> None:
    """Of the usual layout and of serving: the search behind the rest takes a minute."""
    read = study.load_study(FILE)
    predictor = load_predictor("tilecast")
    recorded = pd.read_csv(RECORD / "figures.csv")
    cases = (
        (read.training, "as Megatron-LM", study.case_of(read.training, predictor)),
        (read.serving, "tp4 mb16", serving_case()),
    )
    for part, name, case in cases:
        found = case.figures()
        rows = recorded[(recorded["example"] == part.title) & (recorded["layout"] == name)]
        shown = dict(zip(rows["figure"], rows["value"], strict=True))
        assert found.keys() <= shown.keys()
        for figure, value in found.items():
            assert shown[figure] == pytest.approx(value, rel=1e-3), (
                f"{figure}: run the study anew (docs/use/multigpu.md)"
            )


def test_every_table_is_recorded() -> None:
    assert {path.stem for path in RECORD.glob("*.csv")} == set(STUDY)
    cost = pd.read_csv(RECORD / "cost.csv")
    assert (cost["energy_kwh"] > 0).all() and (cost["on_demand_usd"] > 0).all()


@pytest.mark.slow
def test_slower_kernels_and_links_take_longer() -> None:
    rows = moved()
    for assumption in ("speed of every kernel", "rate of every link"):
        row = rows["step_ms", assumption]
        assert row["low"] > row["forecast"] > row["high"]
    assert (
        rows["step_ms", "network above the nodes"]["high"] > rows["step_ms", "network above the nodes"]["forecast"]
    )
    assert rows["memory_gb", "attention"]["low"] > rows["memory_gb", "attention"]["high"]


@pytest.mark.slow
def test_one_gpu_rests_on_no_link() -> None:
    system = load_system("h100_sxm")
    work = Workload(
        load_model("gpt2_large"),
        4,
        1024,
        "training",
        dtype="bf16",
        attention="fused",
        optimizer="adam",
        fused=True,
    )
    case = Case(work, system, load_device(system.device), Roofline(), Layout(microbatch=4))
    names = {row["assumption"] for row in tornado(case)}
    assert not names & {"rate of every link", "tensor parallelism beside compute", "gradients beside compute"}


def test_only_what_moves_is_told() -> None:
    rows = moved()
    assert all(row["low"] != row["forecast"] or row["high"] != row["forecast"] for row in rows.values())
    assert {assumption for _, assumption in rows} <= {change.name for change in CHANGES}
    assert ("step_ms", "memory lost by the allocator") not in rows


def test_what_a_server_is_set_to_moves_serving_as_it_should() -> None:
    rows = {(row["figure"], row["assumption"]): row for row in tornado(serving_case(), SERVING_CHANGES)}
    for figure in ("ttft_ms", "tpot_ms"):
        for assumption in ("speed of every kernel", "rate of every link"):
            row: dict[str, float] = dict(rows[figure, assumption])  # type: ignore[call-overload]
            assert row["low"] > row["forecast"] > row["high"]
    cached: dict[str, float] = dict(rows["ttft_ms", "prompts found in the prefix cache"])  # type: ignore[call-overload]
    assert cached["high"] < cached["forecast"] == cached["low"]
