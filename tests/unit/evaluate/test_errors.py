"""Errors of cells, operator classes, consistency of labels, and the artifact's summary tables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.evaluate.errors import cell_errors, distribution, phase_errors, together
from tilecast.evaluate.operators import (
    by_consistency,
    label_noise,
    operator_cells,
    operator_class,
)
from tilecast.evaluate.statistics import error_table
from tilecast.evaluate.summaries import compare_summaries
from tilecast.tables.declared.artifact import LABELS, OPERATOR_LABELS, OPERATOR_PREDICTIONS, PREDICTIONS
from tilecast.tables.declared.evaluation import LABEL_NOISE_MAPE, MAPE, OPERATOR_CELLS, OPERATOR_ERRORS, PHASE_MAPE
from tilecast.tables.io import empty

H100, V100, MI100 = "NVIDIA_H100_80GB_HBM3", "Tesla_V100-PCIE-32GB", "AMD_Instinct_MI100"
SUMMARY = "scripts/asplos/summary/"
FEW: dict[str, Any] = {"resamples": 100, "confidence": 0.9, "seed": 0}


def cell(
    device: str = V100, model: str = "bert_large", mode: str = "inference", **more: object
) -> dict[str, object]:
    """One cell of a table, batch 8 of 512 tokens."""
    key = {
        "device": device,
        "model": model,
        "mode": mode,
        "sequence_length": 512,
        "batch_size": 8,
        "option": "none",
    }
    return {**key, "source": "test", **more}


def label(latency: float, forward: float | None = None, **where: str) -> dict[str, object]:
    """A label whose backward pass is what the forward pass leaves."""
    backward = None if forward is None else latency - forward
    return cell(**where, latency_ms=latency, forward_ms=forward, backward_ms=backward, layers=24)


def prediction(
    latency: float, forward: float | None = None, who: str = "roofline", **where: str
) -> dict[str, object]:
    """A prediction of the same shape."""
    row = label(latency, forward, **where)
    del row["layers"]
    return {**row, "predictor": who}


def test_an_error_needs_label_and_prediction() -> None:
    labels = pd.DataFrame([label(100), label(50, device=H100)])
    predictions = pd.DataFrame([prediction(80), prediction(9, model="gpt3_xl")])
    errors = cell_errors(labels, predictions)
    assert errors[["measured_ms", "predicted_ms", "ape_percent", "distribution"]].values.tolist() == [
        [100, 80, 20, "in"]
    ]


@pytest.mark.parametrize(
    ("device", "model", "expected"),
    [
        (V100, "bert_large", "in"),
        (V100, "gpt3_xl", "out"),
        (H100, "bert_large", "out"),
        ("MY_GPU", "bert_large", "out"),
        ("NVIDIA_A100-SXM4-40GB", "gpt2_large", "in"),
    ],
)
def test_out_of_distribution_is_an_unseen_device_or_model(device: str, model: str, expected: str) -> None:
    assert distribution(pd.Series([device]), pd.Series([model])).tolist() == [expected]


def test_passes_err_apart_where_both_sides_tell_them_apart() -> None:
    labels = pd.DataFrame([label(100, 40, mode="training"), label(100, mode="training", device=H100)])
    predictions = pd.DataFrame(
        [prediction(100, 50, mode="training"), prediction(90, 30, mode="training", device=H100)]
    )
    errors = phase_errors(labels, predictions)
    assert dict(zip(errors["phase"], errors["ape_percent"], strict=True)) == {
        "forward": pytest.approx(25),
        "backward": pytest.approx(100 / 6),
    }
    assert set(error_table(errors, PHASE_MAPE, **FEW)["phase"]) == {"forward", "backward"}


def test_a_pass_that_took_no_time_has_no_error() -> None:
    """Some labels say 0 for a pass that was not timed apart."""
    labels = pd.DataFrame([label(100, 100, mode="training")])
    errors = phase_errors(labels, pd.DataFrame([prediction(100, 80, mode="training")]))
    assert errors[["phase", "ape_percent"]].values.tolist() == [["forward", 20]]


def test_a_cell_predicted_by_two_tables_is_refused() -> None:
    table = pd.DataFrame([prediction(80)])
    with pytest.raises(InputError, match="two prediction tables hold the cell"):
        together([table, table], "a, b")
    assert len(together([table, empty(PREDICTIONS), pd.DataFrame([prediction(8, who="li")])], "x")) == 2


def nodes(**columns: list[object]) -> pd.DataFrame:
    """Operators of one training cell."""
    rows = len(columns["name"])
    base = {name: [value] * rows for name, value in cell(mode="training").items()}
    return pd.DataFrame({**base, "accumulation_ms": [0.0] * rows, **columns})


def test_operator_totals_count_repeated_layers() -> None:
    names = {"name": ["a", "b", "c"], "repeats": [24, 1, 24]}
    measured = nodes(**names, latency_ms=[2.0, 4.0, 1.0], forward_ms=[1.0, 4.0, 1.0], backward_ms=[1.0, 0.0, 0.0])
    predicted = nodes(**names, latency_ms=[1.0, 8.0, 1.0], operator=["BMM", "BMM", "VECgelu"])
    predicted["predictor"] = "roofline"
    # A different order of rows, as in some of the artifact's files: nodes are matched by name.
    cells = operator_cells(measured, predicted.iloc[::-1]).set_index("operator_class")
    assert cells.loc["bmm", ["measured_ms", "predicted_ms", "operators"]].tolist() == [52, 32, 2]
    assert cells.loc["elementwise", "ape_percent"] == 0
    table = error_table(cells.reset_index(), OPERATOR_ERRORS, **FEW)
    assert set(table["operator_class"]) == {"bmm", "elementwise"}


def test_operator_classes() -> None:
    given_names = ["BMM", "Linear", "VECsoftmax", "VECln", "VECadd", "getitem"]
    expected = ["bmm", "linear", "softmax", "norm", "elementwise", "other"]
    assert operator_class(pd.Series(given_names)).tolist() == expected


@pytest.mark.parametrize(("forward", "consistent"), [(40.0, True), (60.0, False)])
def test_labels_that_do_not_add_up_are_flagged(forward: float, consistent: bool) -> None:
    operators = nodes(name=["a"], repeats=[10], latency_ms=[10.0], forward_ms=[4.0], backward_ms=[6.0])
    labels = pd.DataFrame([label(100, forward, mode="training")])
    noise = label_noise(labels, operators)
    assert noise["ratio"].tolist() == [1]
    assert noise["consistent"].tolist() == [consistent]
    errors = cell_errors(labels, pd.DataFrame([prediction(90, mode="training")]))
    table = error_table(by_consistency(errors, noise), LABEL_NOISE_MAPE, **FEW)
    assert set(table["labels"]) == {"all", "consistent" if consistent else "inconsistent"}


def test_without_the_full_artifact_every_table_is_empty_but_valid() -> None:
    cells = operator_cells(empty(OPERATOR_LABELS), empty(OPERATOR_PREDICTIONS))
    assert error_table(cells, OPERATOR_ERRORS, **FEW).empty
    noise = label_noise(empty(LABELS), empty(OPERATOR_LABELS))
    errors = cell_errors(pd.DataFrame([label(100)]), pd.DataFrame([prediction(90)]))
    assert set(error_table(by_consistency(errors, noise), LABEL_NOISE_MAPE, **FEW)["labels"]) == {
        "all",
        "unchecked",
    }
    assert compare_summaries({}, empty(LABELS), empty(PREDICTIONS), cells).empty


AMD_TABLE = b",BERT-Large,,GPT2-Large,\nBatch Size,8,16,4,8\nMI100,10.0%,7.0%,,\n"


def test_summary_differences_have_a_cause() -> None:
    where = {"device": MI100}
    labels = pd.DataFrame([label(100, **where), {**label(100, **where), "batch_size": 16}])
    labels = pd.concat([labels, labels.assign(model="gpt2_large", sequence_length=1024, batch_size=[4, 8])])
    predicted = pd.DataFrame([prediction(110, who="neusight_published", **where)])
    predictions = pd.concat(
        [predicted, predicted.assign(model="gpt2_large", sequence_length=1024, batch_size=4, latency_ms=93.0)]
    )
    files = {SUMMARY + "amd_inf.csv": AMD_TABLE}
    found = compare_summaries(files, labels, predictions, empty(OPERATOR_CELLS)).set_index("column")
    assert found.loc["BERT-Large, batch 8", "equal"]
    assert found.loc["BERT-Large, batch 16", "cause"] == "no prediction of this cell among the files read"
    assert found.loc["GPT2-Large, batch 4", "cause"].startswith("left blank by the artifact")
    assert "GPT2-Large, batch 8" not in found.index  # nothing printed and nothing to print

    wrong = predictions.assign(latency_ms=[125.0, 93.0], batch_size=[16, 4])
    wrong = pd.concat([wrong, predicted.assign(latency_ms=107.0)])
    swapped = compare_summaries(files, labels, wrong, empty(OPERATOR_CELLS)).set_index("column")
    assert "batch 8, option none" in swapped.loc["BERT-Large, batch 16", "cause"]
    assert "no other cell" in swapped.loc["BERT-Large, batch 8", "cause"]


def test_a_damaged_summary_is_one_line() -> None:
    with pytest.raises(InputError, match=r"amd_inf\.csv: is not the summary table expected"):
        compare_summaries(
            {SUMMARY + "amd_inf.csv": b",A\nBatch Size,8\nMI100,ten\n"},
            empty(LABELS),
            empty(PREDICTIONS),
            empty(OPERATOR_CELLS),
        )


@pytest.fixture(scope="module")
def mirror() -> dict[str, bytes]:
    """The artifact's labels, predictions and summaries."""
    root = Path(os.environ["TILECAST_MIRROR"])
    paths = [
        p for d in ("label", "results/prediction", "summary") for p in (root / "scripts/asplos" / d).rglob("*.*")
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def artifact_tables(mirror: dict[str, bytes]) -> dict[str, pd.DataFrame]:
    """The tidy tables of the artifact."""
    from tilecast.artifact.cells import read_labels, read_predictions
    from tilecast.artifact.operators import read_operator_labels, read_operator_predictions

    labels, predictions = read_labels(mirror), read_predictions(mirror)
    operators = operator_cells(read_operator_labels(mirror), read_operator_predictions(mirror))
    return {"labels": labels, "predictions": predictions, "operators": operators}


@pytest.mark.artifact
@pytest.mark.slow
def test_distribution_agrees_with_the_artifacts_own_flag(
    mirror: dict[str, bytes], artifact_tables: dict[str, pd.DataFrame]
) -> None:
    import io

    raw = pd.read_csv(io.BytesIO(mirror[SUMMARY + "summary.csv"]))
    flags = distribution(raw["device"], raw["model_name"])
    assert len(raw) == 146
    assert ((flags == "out") == raw["OOD"]).all()


@pytest.mark.artifact
@pytest.mark.slow
def test_published_errors_are_those_of_the_artifact(artifact_tables: dict[str, pd.DataFrame]) -> None:
    errors = cell_errors(artifact_tables["labels"], artifact_tables["predictions"])
    mape = error_table(errors, MAPE, **FEW)
    chosen = mape[
        (mape["predictor"] == "neusight_published")
        & (mape["device"] == "NVIDIA")
        & (mape["distribution"] == "all")
        & (mape["mode"] == "all")
    ].set_index("option")
    assert chosen["n"][["none", "fusion", "distributed"]].tolist() == [80, 12, 11]
    assert chosen["mape_percent"][["none", "fusion", "distributed"]].round(1).tolist() == [8.9, 14.9, 7.7]


@pytest.mark.artifact
@pytest.mark.slow
def test_all_seven_summary_tables_are_recomputed(
    mirror: dict[str, bytes], artifact_tables: dict[str, pd.DataFrame]
) -> None:
    summaries = {path: data for path, data in mirror.items() if path.startswith(SUMMARY)}
    found = compare_summaries(summaries, **artifact_tables)
    kinds = {"nvidia_inf", "nvidia_train", "amd_inf", "amd_train"}
    assert set(found["table"]) == kinds | {"perop", "fusion_inf", "distributed"}
    assert found.loc[~found["equal"], "cause"].notna().all()
    differing = set(found.loc[~found["equal"], "table"])
    assert differing <= {"perop", "distributed"}
    assert not found["cause"].str.contains("another figure").any()
    explained = found["cause"].str.endswith("the figure is exact", na=False)
    figure = re.compile(rf"{found.loc[explained, 'published'].iloc[0]:.12f}"[:7].encode() + rb"\d*")
    other = {path: figure.sub(b"12.5", data) if "perop" in path else data for path, data in summaries.items()}
    again = compare_summaries(other, **artifact_tables)
    assert again["cause"].str.endswith("the figure is exact", na=False).sum() < explained.sum()
