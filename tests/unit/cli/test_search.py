"""`tilecast search`: what it prints, and one line for every kind of bad input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tilecast.base.paths import PRICES
from tilecast.cli import main
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import legal
from tilecast.multigpu.step import StepForecaster
from tilecast.planner import search as searching
from tilecast.predict.baselines.roofline import Roofline

SMALL = ["search", "--model", "gpt2", "--system", "h100_sxm", "--predictor", "roofline", "--sequence", "512"]
SERVED = ["search", "--model", "llama3_8b", "--system", "h100_sxm", "--sequence", "512", "--gpus", "2", "--json"]


def answered(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main([*SMALL, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["answer"]


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["search", *arguments]) == 1
    words = capsys.readouterr().err
    assert words.count("\n") == 1 and "Traceback" not in words
    return words


@pytest.mark.slow
def test_training_is_the_best_of_brute_force(capsys: pytest.CaptureFixture[str]) -> None:
    """Every layout of the space, each forecast alone."""
    told = answered(["--gpus", "4", "--batch", "8", "--top", "3"], capsys)
    model, system = load_model("gpt2"), load_system("h100_sxm")
    work = Workload(model, 8, 512, "training", dtype="bf16", attention="fused", optimizer="adam", fused=True)
    forecaster = StepForecaster(work, system, load_device("H100"), Roofline())
    even = [
        layout
        for layout in searching.layouts(searching.training_space(work), equal_layers(model), 4, 8)
        if legal(layout, equal_layers(model), 4, 8, 512) is None and forecaster.memory(layout).fits
    ]
    spread = [replace(x, stages=counts) for x in even if x.pp > 1 for counts in forecaster.spread([x]) if counts]
    times = {layout.label: forecaster.step(layout).latency_ms for layout in even + spread}
    assert spread and len(times) == len(even) + len(spread)
    assert told["feasible"] == len(times)
    assert told["tried"] == told["feasible"] + sum(row["layouts"] for row in told["infeasible"])
    for row, best in zip(told["top"], sorted(times.values()), strict=False):
        assert row["step_ms"] == pytest.approx(best, rel=1e-9)
        assert times[row["layout"]] == pytest.approx(row["step_ms"], rel=1e-9)
    assert told["top"][0]["why"] == "" and "instead of" in told["top"][1]["why"]
    assert sum(told["best_parts_ms"].values()) == pytest.approx(told["top"][0]["step_ms"], rel=1e-9)
    assert any(words.startswith("tp 4:") for words in told["why_not"])


@pytest.mark.slow
def test_context_ranks_are_tried_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    told = answered(["--gpus", "2", "--batch", "2", "--cp", "2,1", "--top", "50"], capsys)
    labels = [row["layout"] for row in told["top"]]
    assert any("cp2" in label for label in labels) and any("dp2" in label for label in labels)


@pytest.mark.slow
def test_serving_keeps_the_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    def served(*more: str) -> dict:
        assert main([*SERVED, "--output", "16", *more]) == 0
        return json.loads(capsys.readouterr().out)["answer"]

    every = [row["ttft_ms"] for row in served("--objective", "ttft")["top"]]
    assert every == sorted(every)
    bound = every[1]
    bounded = ["--mode", "inference", "--constraints", f"ttft_ms={bound:.6f}"]
    kept = served(*bounded, "--why-not", "pp=2")
    assert kept["top"] and all(row["ttft_ms"] <= bound + 1e-6 for row in kept["top"])
    assert len(kept["why_not"]) == 1 and kept["why_not"][0].startswith("pp 2:")
    prices = [row["usd_per_million_tokens"] for row in kept["top"]]
    assert prices == sorted(prices)
    assert main([*SERVED, "--objective", "ttft", "--predictor", "roofline"]) == 1
    assert "serving is forecast by tilecast" in capsys.readouterr().err
    assert main([*SERVED, "--objective", "ttft", "--attention", "eager"]) == 1
    assert "--attention: is of training" in capsys.readouterr().err


def test_text_and_nothing_feasible(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--gpus", "2", "--batch", "4"]) == 0
    words = capsys.readouterr().out
    for part in ("best by step time", "Pareto front", "why not", "cannot run", "layouts tried in"):
        assert part in words
    assert main([*SMALL, "--gpus", "1", "--batch", "1", "--constraints", "memory_gb=0.001"]) == 3
    assert "is more than the 0.001 allowed" in capsys.readouterr().out


def test_a_price_is_paid_by_whole_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    offer = load_prices().offer("NVIDIA_H100_80GB_HBM3")
    told = answered(["--gpus", "2", "--batch", "2", "--price", "reserved", "--top", "1"], capsys)
    assert offer is not None and offer.reserved is not None
    assert told["top"][0]["usd_per_hour"] == pytest.approx(offer.reserved.value)


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = ["--model", "gpt2", "--system", "h100_sxm", "--gpus", "2"]
    cases = {
        "more than the 8": [*good[:4], "--gpus", "9"],
        "too small": [*good[:4], "--gpus", "0"],
        "--batch: 0 is too small": [*good, "--batch", "0"],
        "is not understood": [*good, "--constraints", "speed=fast"],
        "is no part of a layout": [*good, "--why-not", "colour=8"],
        "is no figure of training": [*good, "--objective", "ttft", "--mode", "training"],
        "is no figure of inference": [*good, "--mode", "inference", "--objective", "step_time"],
        "--dtype: 'fp12' is not known": [*good, "--dtype", "fp12"],
        "is not a known system": [*good, "--system", "abacus"],
        "does not describe a transformer": [*good, "--model", "resnet50"],
        "is no list of ranks": [*good, "--cp", "2,none"],
        "is of training": [*good, "--cp", "2", "--objective", "ttft"],
        "does not exist": [*good, "--system", str(tmp_path / "none.yaml")],
    }
    for words, arguments in cases.items():
        assert words in refused(arguments, capsys)
    raw = yaml.safe_load(PRICES.read_text())
    del raw["prices"][0]["on_demand"]["date"]
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(raw))
    assert "`on_demand.date` is missing" in refused([*good, "--prices", str(tmp_path / "prices.yaml")], capsys)


def test_gpus_without_a_link_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = {
        "device": "NVIDIA_H100_80GB_HBM3", "gpus_per_node": 4, "sources": {"me": "made up"},
        "tiers": [{"kind": "nvlink", "bytes_per_s": 1e11, "joins": [[0, 1], [2, 3]], "source": "me"}],
    }  # fmt: skip
    path = tmp_path / "pairs.yaml"
    path.write_text(yaml.safe_dump(raw))
    arguments = ["--model", "gpt2", "--system", str(path), "--gpus", "4", "--batch", "4", "--sequence", "512"]
    assert "no link between GPU" in refused([*arguments, "--predictor", "roofline"], capsys)
