"""Python's interface: the same questions as the command line's, checked and answered alike."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import tilecast as tc
from tilecast import cli
from tilecast.api.options import parameters
from tilecast.api.text import short, size
from tilecast.base.errors import InputError
from tilecast.base.names import find
from tilecast.models.registry import HUB, load_model, model_names

ASKED = {
    "compare": (tc.compare, {"models": "llama3_8b", "devices": "H100", "output": 8, "ttft_ms": 500}),
    "recommend": (tc.recommend, {"model": "llama3_8b", "devices": "B200", "rate": 2, "output": 8}),
    "collective": (tc.collective, {"op": "allreduce", "system": "DGX-H100", "gpus": 8, "bytes": "64M"}),
    "forecast": (tc.forecast, {"model": "openai-community/gpt2", "device": "h100", "sequence": 128}),
    "kernel": (tc.kernel, {"device": "A100", "product": "512x512x512"}),
    "list": (tc.known, {"kind": "Engines"}),
    "search": (tc.search, {"model": "gpt2", "system": "h100_sxm", "gpus": 2, "batch": 4, "sequence": 256}),
    "serve": (tc.serve, {"model": "llama3-8b", "device": "H100", "concurrency": 2, "output": 8}),
}


@pytest.mark.parametrize("command", ASKED)
def test_python_and_the_command_line_give_one_answer(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    function, given = ASKED[command]
    answer = function(**given)
    named = {f"--{name.replace('_', '-')}": str(value) for name, value in given.items() if name != "kind"}
    options = [word for pair in named.items() for word in pair]
    assert cli.main([command, *([given["kind"]] if "kind" in given else []), *options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    kept = json.loads(answer.to_json())
    for told in (said, kept):
        for clock in ("seconds", "layouts_per_s"):
            told["answer"].pop(clock, None)
    assert said["schema"] == type(answer).schema and said["schema"].startswith(f"tilecast.{command}/")
    assert list(said) == ["schema", "question", "answer"]
    assert said["answer"] == kept["answer"]
    assert repr(answer) == answer.text() and "<pre>" in answer._repr_html_()
    assert len(answer.to_frame()) == len(answer.rows()) > 0


def test_every_question_has_a_command_and_every_parameter_says_what_it_is() -> None:
    assert set(tc.QUESTIONS) == set(cli.QUESTIONS.values()) - {"graph"}  # the name of a package
    for name in tc.QUESTIONS:
        for parameter in parameters(getattr(tc, name)).values():
            assert parameter.option.words, (name, parameter.name)


def test_import_is_light() -> None:
    code = "import sys, tilecast; print(sorted({'numpy', 'pandas', 'yaml', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError):
        tc.divine  # noqa: B018


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch": 0}, "--batch: 0 is too small"),
        ({"batch": 2.5}, "--batch: 2.5 is not a whole number"),
        ({"batch": True}, "--batch: True is not a whole number"),
        ({"tokens": float("nan")}, "--tokens: nan is no number"),
        ({"phase": "decoding"}, "did you mean decode"),
        ({"no_overlap": "yes"}, "--no-overlap: str is no bool"),
        ({"model": "gpt22"}, "did you mean gpt2"),
        ({"model": 5.5}, "5.5: is no known model"),
        ({"device": None}, "--device: is missing"),
    ],
)
def test_a_bad_argument_is_one_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tc.forecast(**{"model": "gpt2", "device": "H100", **given})  # type: ignore[arg-type]


def test_names_of_the_hub_stand_for_shipped_models() -> None:
    assert set(HUB.values()) <= set(model_names())
    assert load_model("META-LLAMA/llama-3.1-8b").name == load_model("llama3.1-8b").name == "llama31_8b"
    assert find("llama", model_names()) is None  # several are meant, or none
    assert find("", model_names()) is None


def test_what_does_not_fit_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tc.forecast("llama2_70b", "H100", predictor="roofline").fits
    assert cli.main(["forecast", "--model", "llama2_70b", "--device", "H100", "--predictor", "roofline"]) == 3
    assert "does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (379112.0, "379,100"),
        (2.8e-14, "0"),
        (0.00123456, "0.001235"),
        (1e20, "1e+20"),
        (-3.5, "-3.5"),
    ],
)
def test_numbers_are_for_people(value: float, words: str) -> None:
    assert short(value) == words


def test_sizes_have_units() -> None:
    assert [size(value) for value in (1.34e12, 85.9e9, 999.99e6, 512)] == ["1.34 TB", "85.9 GB", "1 GB", "512 B"]
