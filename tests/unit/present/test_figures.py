"""Figures: drawn from any data, the same bytes twice, with words for those who cannot see them."""

import importlib
import json
import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from pictures import save

from tilecast.present.figures import style
from tilecast.tables import naming
from tilecast.tables.declared.evaluation import ERRORS, LABEL_NOISE, OPERATOR_ERRORS
from tilecast.tables.io import empty

END_TO_END = (
    "predicted_vs_measured",
    "error_distribution",
    "fusion",
    "distributed",
    "amd",
)
SOURCES = dict.fromkeys(END_TO_END, ERRORS) | {
    "operator_errors": OPERATOR_ERRORS,
    "label_consistency": LABEL_NOISE,
}
SVG = "{http://www.w3.org/2000/svg}"


def operators():
    """Operator errors of two predictors, in and out of distribution."""
    numbers = dict.fromkeys(list(OPERATOR_ERRORS.columns)[5:], 1.0)
    rows = []
    for name in ("neusight_published", "tilecast"):
        for side, value in (("in", 10.0), ("out", 37.5)):
            row = {"predictor": name, "operator_class": "softmax", "device": "NVIDIA", "mode": "all"}
            rows.append(row | numbers | {"distribution": side, "n": 4, "mape_percent": value, "ci_high": 50.0})
    return pd.DataFrame(rows)


def cells(predictors=("neusight_published", "tilecast"), factors=(1.1, 0.95)):
    """Errors over plain, fused, four-GPU and AMD cells; each predictor is off by its own factor."""
    places = [
        ("NVIDIA_H100_80GB_HBM3", "bert_large", "inference", 512, 8, "none", 70.0),
        ("NVIDIA_H100_80GB_HBM3", "bert_large", "inference", 512, 8, "fusion", 60.0),
        ("NVIDIA_H100_80GB_HBM3", "gpt2_large", "training", 1024, 4, "dp4", 195.0),
        ("NVIDIA_L4", "gpt2_large", "training", 1024, 1, "none", 900.0),
        ("AMD_Instinct_MI250", "opt_13", "inference", 2048, 2, "none", 400.0),
    ]
    rows = []
    for name, factor in zip(predictors, factors, strict=True):
        for device, model, mode, length, batch, option, measured in places:
            rows.append(
                {
                    "predictor": name, "device": device, "model": model, "mode": mode, "sequence_length": length,
                    "batch_size": batch, "option": option, "measured_ms": measured,
                    "predicted_ms": measured * (factor**2 if option == "fusion" else factor),
                    "ape_percent": 100 * abs(factor - 1), "distribution": "out",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(name, frame):
    """The figure of that name."""
    return importlib.import_module(f"tilecast.present.figures.{name}").draw(frame)


@pytest.mark.parametrize("name", SOURCES)
def test_without_rows_the_figure_says_so(name, tmp_path):
    paths = save(draw(name, empty(SOURCES[name])), tmp_path, name)
    about = json.loads(paths["about"].read_text())
    assert about["n"] == 0 and about["reason"]
    if SOURCES[name] is not ERRORS:
        assert about["reason"] == "needs the full artifact"


@pytest.mark.slow
@pytest.mark.parametrize("name", END_TO_END)
def test_finding_is_computed_and_every_form_is_there(name, tmp_path):
    paths = save(draw(name, cells()), tmp_path, name)
    about = json.loads(paths["about"].read_text())
    assert set(about) - {"views"} == {"title", "caption", "alt", "n", "source_csv"}
    assert about["n"] > 0 and f"{about['n']} " in about["caption"]
    root = ET.parse(paths["svg"]).getroot()
    assert root.find(f"{SVG}title").text == about["title"]
    assert root.find(f"{SVG}desc").text == about["alt"]
    assert paths["pdf"].read_bytes().startswith(b"%PDF") and paths["png"].read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(paths["data"])) > 0
    other = draw(name, cells(factors=(1.4, 1.7)))
    assert other.title != about["title"]  # another outcome, another finding


def test_operators_name_the_predictor_that_is_nearest_most_often(tmp_path):
    picture = draw("operator_errors", operators())
    save(picture, tmp_path, "operator_errors")
    assert picture.title == (
        "NeuSight (authors) errs least on 1 of 1 classes in distribution, 1 of 1 classes out of distribution; "
        "most on softmax, by 38 %"
    )
    assert picture.n == 8 and len(picture.data) == 4


def test_consistency_counts_what_does_not_add_up(tmp_path):
    cell = {
        "device": "NVIDIA_L4",
        "model": "gpt2_large",
        "mode": "inference",
        "sequence_length": 1024,
        "option": "none",
    }
    sums = {"measured_ms": 10.0, "forward_ratio": 1.0, "backward_ratio": None, "consistent": True}
    rows = [
        cell | sums | {"batch_size": k, "operators_ms": 10 * ratio, "ratio": ratio}
        for k, ratio in ((1, 1.0), (2, 1.3))
    ]
    picture = draw("label_consistency", pd.DataFrame(rows))
    save(picture, tmp_path, "label_consistency")
    assert "by 15 % on average; 1 of 2 cells by more than 10 %" in picture.title


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["predicted_vs_measured", "distributed"])
def test_same_bytes_twice(name, tmp_path):
    first, second = (save(draw(name, cells()), tmp_path / run, name) for run in ("a", "b"))
    for kind in first:
        assert first[kind].read_bytes() == second[kind].read_bytes(), kind
    assert not re.search(rb"CreationDate|<dc:date>", first["pdf"].read_bytes() + first["svg"].read_bytes())


@pytest.mark.parametrize("name", END_TO_END)
def test_a_new_predictor_appears(name):
    picture = draw(name, cells(("neusight_published", "somebody's <b>$x_1$</b>"), (1.1, 1.2)))
    assert "somebody's <b>$x_1$</b>" in set(picture.data["predictor"])
    assert "somebody" in picture.alt


def test_hostile_names_stay_text(tmp_path):
    frame = cells()
    frame["model"] = "<script>alert(1)</script> $\\frac{$ --> ]]>"
    picture = draw("amd", frame)
    paths = save(picture, tmp_path, "amd")
    tags = {element.tag for element in ET.parse(paths["svg"]).getroot().iter()}
    assert f"{SVG}script" not in tags


def test_a_device_may_lack_a_mode_for_a_predictor():
    frame = cells()
    more = frame[frame["device"] == "AMD_Instinct_MI250"].assign(device="AMD_Instinct_MI100", mode="training")
    both = pd.concat([frame, more[more["predictor"] == "tilecast"]])
    assert draw("amd", both).n == 2


def test_ids_are_unique_to_the_figure(tmp_path):
    paths = save(draw("fusion", cells()), tmp_path, "fusion")
    svg = paths["svg"].read_text()
    ids = re.findall(r'\bid="([^"]*)"', svg)
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
    assert len(ids) == len(set(ids)) and all(name.startswith("fusion-") for name in ids)
    assert {a or b for a, b in used} <= set(ids)


def test_errors_beyond_the_axis_are_marked(tmp_path):
    picture = draw("distributed", cells(factors=(6.0, 0.9)))
    assert "1 of 2 beyond ±100 %" in picture.caption
    texts = [text.get_text() for axes in picture.figure.axes for text in axes.texts]
    assert "+500 %" in texts


def test_one_colour_a_method_whoever_computed_it():
    assert naming.colour("neusight") == naming.colour("neusight_published") != naming.colour("tilecast")
    assert style.marks("neusight")["markerfacecolor"] != style.marks("neusight_published")["markerfacecolor"]
    assert naming.colour("unheard-of") == naming.colour("unheard-of_published")


def test_order_and_names():
    assert naming.ordered(naming.DEVICES, ["zz", "NVIDIA_L4", "Tesla_P4", "aa"]) == [
        "Tesla_P4",
        "NVIDIA_L4",
        "aa",
        "zz",
    ]
    assert naming.device_name("NVIDIA_L4") == "L4" and naming.device_name("new") == "new"
    assert [naming.significant(v) for v in (5.8649, 99.96, 5244.98, 0.01234)] == ["5.86", "100", "5,245", "0.0123"]
