"""An author's predictor takes part by one file and one line of the configuration; the package is not touched."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from copies import Copy, copy_tree

from tilecast.tables.declared.artifact import DEVICES, GRAPHS, LABELS, LAYERS, PREDICTIONS
from tilecast.tables.io import empty, write

OWN = """
from tilecast.predict.kernel import complete, forecast_frame

class Mine:
    name = "mine"

    def predict(self, kernels, device):
        frame = complete(kernels)
        return forecast_frame(frame, frame["bytes_written"] / device.bandwidth_bytes_per_s * 1e3, "bandwidth")
"""
CELL = {"model": "toy", "mode": "inference", "sequence_length": 8, "batch_size": 1, "option": "none"}
CONFIGURED = ("--config", "predictor={own: {mine: mine.py:Mine}}")
RULES = ("--allowed-rules", "predict", "evaluate_errors", "evaluate_mape")
MAPE = "results/evaluation/mape.csv"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy with one tidy cell: a matrix product on a V100, measured."""
    copy = copy_tree(tmp_path_factory.mktemp("own") / "tree")
    (copy.root / "mine.py").write_text(OWN)
    tidy = copy.root / "results/tidy"
    node = {"position": 0, "name": "a", "operator": "x", "phase": "forward", "order": 0, "kernel": "Linear"}
    size = {
        "dims": "64,64,64",
        "input_elements": 64,
        "output_elements": 64,
        "repeated": False,
        "source": "toy.csv",
    }
    write(pd.DataFrame([CELL | node | size]), tidy / "graphs.parquet", GRAPHS)
    published = pd.read_csv(copy.root / "resources/published/devices.csv")
    v100 = published[published["device"] == "Tesla_V100-PCIE-32GB"]
    write(v100, tidy / "devices.csv", DEVICES)
    times = {"latency_ms": 1.0, "forward_ms": 1.0, "backward_ms": None, "layers": 1, "source": "toy"}
    label = CELL | {"device": "Tesla_V100-PCIE-32GB"} | times
    write(pd.DataFrame([label]), tidy / "labels.csv", LABELS)
    write(pd.DataFrame([{"model": "toy", "layers": 1}]), tidy / "layers.csv", LAYERS)
    write(empty(PREDICTIONS), tidy / "predictions.csv", PREDICTIONS)
    return copy


def forecast_again(tree: Copy) -> set[str]:
    """The predictors whose forecasts are stale."""
    run = tree.snakemake("--dry-run", MAPE, *CONFIGURED, *RULES)
    return set(re.findall(r"wildcards: predictor=(\w+)$", run.output, re.MULTILINE))


def test_one_file_and_one_line_add_a_predictor(tree: Copy) -> None:
    tree.snakemake(MAPE, *CONFIGURED, *RULES)
    predictors = ["habitat", "li", "mine", "neusight", "roofline", "tilecast"]
    assert sorted(set(pd.read_csv(tree.root / MAPE)["predictor"])) == predictors
    for name in ("mine.csv", "mine_operators.parquet", "mine_intervals.csv", "mine_breakdown.csv"):
        assert (tree.root / "results/predict" / name).is_file()
    assert forecast_again(tree) == set()


def test_an_edit_of_one_predictor_forecasts_with_it_alone(tree: Copy) -> None:
    def comment(text: str) -> str:
        return text + "\n# edited\n"

    with tree.edited("mine.py", comment):
        assert forecast_again(tree) == {"mine"}
    with tree.edited("src/tilecast/predict/baselines/neusight.py", comment):
        assert forecast_again(tree) == {"neusight"}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("{neusight: mine.py:Mine}", "`predictor.own.neusight`: the name is taken"),
        ("{mine: none.py:Mine}", "the file none.py does not exist"),
        ("{mine: nothing.such:Mine}", "no module nothing.such is installed"),
        ("{mine: mine.py:Yours}", "cannot be loaded (AttributeError"),
        ("{mine: broken.py:Mine}", "cannot be loaded (ZeroDivisionError"),
        ("{mine: short.py:Mine}", "cannot be loaded (ValueError: 1 forecasts of 5 kernels)"),
        ("{other: mine.py:Mine}", "the class names itself 'mine', the configuration names it other"),
        ("{mine: mine.py}", "`predictor.own.mine`"),
        ("{My-Own: mine.py:Mine}", "`predictor.own"),
    ],
)
def test_what_cannot_forecast_is_refused_before_anything_runs(own: str, said: str, tree: Copy) -> None:
    (tree.root / "broken.py").write_text("1 / 0\n")
    (tree.root / "short.py").write_text(OWN.replace("complete(kernels)", "complete(kernels[:1])"))
    run = tree.snakemake("--dry-run", "--config", f"predictor={{own: {own}}}", fails=True)
    lines = [line for line in run.output.splitlines() if line.startswith("tilecast: error: ")]
    assert len(lines) == 1 and said in lines[0], run.output
    assert "Traceback" not in run.output
