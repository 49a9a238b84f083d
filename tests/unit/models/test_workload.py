"""A workload: checked once, in a file's words or the tables'; the names of traced ones."""

from __future__ import annotations

import pytest

from tilecast.base.errors import InputError
from tilecast.models.choices import OPTIMIZER_STATES, Cell
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload, usual_length, workload


def test_a_file_and_a_table_name_the_same_workload():
    given = {"model": "gpt2", "batch": 4, "sequence": 128, "mode": "training", "optimizer": "adam"}
    one = workload(given, "here")
    names = {"batch": "batch_size", "sequence": "sequence_length"}
    other = workload({names.get(key, key): value for key, value in given.items()}, "here")
    assert one == other == Workload(load_model("gpt2"), 4, 128, "training", optimizer="adam")
    assert (one.tokens, one.optimizer_states, one.architecture.layers) == (512, 2, 12)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "dreaming"}, "`mode` = 'dreaming': expected one of inference, training"),
        ({"batch": 0}, "`batch` = 0"),
        ({"batch_size": 10**9}, "less than or equal to 1000000"),
        ({"sequence": "8"}, "`sequence` = '8'"),
        ({"colour": "red"}, "unknown key `colour`; a workload has model, batch_size"),
        ({"context": 3}, "a prefill has no `context`"),
        ({"mode": "training", "phase": "decode"}, "decode is a phase of inference"),
        ({"optimizer": "lion"}, f"expected one of {', '.join(OPTIMIZER_STATES)}"),
        ({"model": "gpt9"}, "gpt9: is no known model"),
    ],
)
def test_what_is_not_a_workload_is_one_line(given, words):
    with pytest.raises(InputError, match=words) as caught:
        workload({"model": "gpt2"} | given, "study.yaml")
    assert "\n" not in str(caught.value)


def test_a_decode_step_makes_a_token_of_each_sequence():
    assert Workload(load_model("gpt2"), 8, phase="decode", context=100).tokens == 8


def test_a_name_is_read_as_it_is_written():
    cell = Cell("bert_large", "training", 512, 8)
    assert Cell.parse(str(cell)) == cell and str(cell) == "bert_large-training-512-8"
    assert Workload(load_model("gpt2"), 2, 64).cell == Cell("gpt2", "inference", 64, 2)
    assert Workload(load_model("gpt2"), 2, 64, dtype="bf16").cell is None
    with pytest.raises(InputError, match="is not named"):
        Cell.parse("gpt2-training-x-4")


def test_a_sequence_is_no_longer_than_the_model_allows():
    assert (usual_length(load_model("bert_large")), usual_length(load_model("llama2_7b"))) == (512, 1024)
