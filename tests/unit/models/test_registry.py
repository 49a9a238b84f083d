"""Model configurations: what is read, what is refused, and what is told about it."""

import json

import pytest

from tilecast.base.errors import InputError
from tilecast.models.registry import load_model, model_names, model_spec

SHIPPED = {
    "bert_large", "gpt2", "gpt2_large", "gpt3_27", "gpt3_xl", "llama2_13b", "llama2_70b", "llama2_7b",
    "llama3_70b", "llama3_8b", "mixtral_8x7b", "opt_13", "qwen3_30b_a3b", "resnet50", "switchxl4",
}  # fmt: skip


def test_every_shipped_model_reads_and_names_its_source():
    assert set(model_names()) >= SHIPPED
    for name in model_names():
        spec = load_model(name)
        assert spec.name == name
        assert "tilecast" not in spec.values
        raw = json.loads(open(spec.source, encoding="utf-8").read())  # noqa: PTH123, SIM115
        assert raw["tilecast"]["source"]


def test_a_configuration_without_our_key_is_read_as_it_is(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"model_type": "gpt2", "n_layer": 3, "architectures": ["GPT2LMHeadModel"]}')
    spec = load_model(path)
    assert (spec.name, spec.values["n_layer"], spec.architecture("training")) == ("mine", 3, "GPT2LMHeadModel")


def test_a_folder_stands_for_its_config(tmp_path):
    (tmp_path / "some-model").mkdir()
    (tmp_path / "some-model/config.json").write_text('{"model_type": "llama"}')
    spec = load_model(tmp_path / "some-model")
    assert spec.name == "some-model"
    assert spec.architecture("inference") is None


def test_a_class_may_differ_by_mode():
    spec = load_model("bert_large")
    assert spec.architecture("inference") == "BertForSequenceClassification"
    assert spec.architecture("training") == "BertForPreTraining"


def test_the_locality_study_names_its_models():
    spec = load_model("vit16x12x768")
    assert (spec.values["num_attention_heads"], spec.values["intermediate_size"]) == (12, 3072)
    assert load_model("vit32x2x128").values["num_attention_heads"] == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "no model configuration"),
        ("{}", "names no `model_type`"),
        ('{"model_type": 3}', "names no `model_type`"),
        ('{"model_type": "gpt2", "architectures": "GPT2"}', "no list of class names"),
        ('{"model_type": "gpt2", "tilecast": 1}', "no mapping"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError, match=problem) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["no_such_model", "vit0x0x0", "vit17x2x128", "missing.json"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(InputError, match=name):
        load_model(name)


def test_what_is_listed_for_each_layer_is_shortened_with_the_layers():
    kinds = ["sliding_attention", "full_attention"] * 4
    values = {"model_type": "gpt_oss", "num_hidden_layers": 8, "layer_types": kinds, "eos_token_id": [1, 2]}
    short = model_spec(values, "m", "m").shortened(2).values
    assert short["layer_types"] == kinds[:2] and short["num_hidden_layers"] == 2
    assert short["eos_token_id"] == [1, 2]
