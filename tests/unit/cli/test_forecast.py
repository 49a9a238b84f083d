"""`tilecast forecast --system`: what it prints and writes, and one line for what cannot be."""

from __future__ import annotations

import json

import pytest

from tilecast.cli import main

TRAIN = ["forecast", "--model", "gpt2", "--system", "dgx_h100", "--mode", "training", "--sequence", "128"]


def test_a_layout_is_forecast_and_its_timeline_written(tmp_path, capsys):
    file = tmp_path / "step.json"
    options = ["--dp", "2", "--pp", "2", "--batch", "8", "--microbatch", "2", "--predictor", "roofline"]
    assert main([*TRAIN, *options, "--zero", "1", "--timeline", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["answer"]
    assert (said["gpus"], said["microbatches"], said["layout"]["zero"]) == (4, 2, 1)
    assert sum(said["parts_ms"].values()) == pytest.approx(said["latency_ms"])
    assert said["memory"]["fits"] is True and len(said["memory"]["stages"]) == 2
    events = json.loads(file.read_text())["traceEvents"]
    assert {event["tid"] for event in events} == {0, 1}


def test_stages_prices_and_a_run_are_told(capsys):
    uneven = [
        *TRAIN,
        "--pp",
        "2",
        "--batch",
        "4",
        "--microbatch",
        "1",
        "--predictor",
        "roofline",
        "--stages",
        "7,5",
    ]
    assert main([*uneven, "--tokens", "1e9", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["answer"]
    assert said["layout"]["stages"] == [7, 5] and len(said["memory"]["stage_verdicts"]) == 2
    hour, run = said["cost"]["hour"], said["cost"]["training_run"]
    assert run["on_demand_usd"] == pytest.approx(hour["on_demand_usd"] * run["hours"])
    assert said["cost"]["offer"]["on_demand"]["date"].startswith("20")
    assert main(uneven) == 0
    words = capsys.readouterr().out
    assert "stages7,5" in words and "stage 1 " in words and "fits, " in words and "per 1M tokens" in words
    assert main(["forecast", "--model", "gpt2", "--system", "gb200", "--predictor", "roofline"]) == 0
    words = capsys.readouterr().out
    assert "no price for NVIDIA_GB200" in words and "$" not in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "H100", "--tp", "2"], "--tp: needs a system"),
        (["--device", "H100", "--sequence-parallel"], "--sequence-parallel: needs a system"),
        ([], "--device: is missing"),
        (
            ["--device", "V100", "--dtype", "bf16"],
            "computes nothing in bf16; it computes in fp64, fp32, fp16",
        ),
        (["--system", "dgx_h100", "--tp", "5"], "12 heads do not divide by tp 5"),
        (
            ["--system", "dgx_h100", "--batch", "6", "--dp", "2", "--microbatch", "2"],
            "do not divide by microbatch 2",
        ),
        (["--system", "dgx_h100", "--dp", "0"], "--dp: 0 is too small"),
        (["--system", "h100_sxm_4", "--dp", "8", "--batch", "8"], "needs 8 GPUs, the system has 4"),
        (["--system", "nowhere"], "is not a known system"),
        (["--system", "dgx_h100", "--pp", "2", "--stages", "6,7"], "13 layers in all, the model has 12"),
        (["--system", "dgx_h100", "--stages", "6,6"], "2 numbers of layers for the 1 pieces"),
        (["--system", "dgx_h100", "--stages", "all"], "is no list of layers"),
        (["--device", "H100", "--stages", "12"], "--stages: needs a system"),
        (["--system", "dgx_h100", "--tokens", "1e9"], "--tokens: is of a training run"),
        (["--system", "dgx_h100", "--mode", "training", "--tokens", "nan"], "is no number above zero"),
        (["--device", "H100", "--optimizer", "adamw"], "--optimizer: is of a training run"),
        (["--device", "H100", "--recompute", "full"], "--recompute: is of a training run"),
        (
            ["--system", "dgx_h100", "--dp", "2", "--batch", "2", "--zero", "1"],
            "--zero: 1 shares out what training",
        ),
        (["--system", "dgx_h100", "--tp", "2", "--schedule", "gpipe"], "--schedule: is of a pipeline"),
        (["--system", "dgx_h100", "--prices", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_cannot_be_is_one_line(options, message, capsys):
    assert main(["forecast", "--model", "gpt2", "--sequence", "128", "--predictor", "roofline", *options]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err
