"""`tilecast graph`, as a user meets it."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tilecast.cli import main
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

MADE_UP = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 96, "intermediate_size": 200,
    "num_hidden_layers": 5, "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 512, "tie_word_embeddings": True, "hiden_act": "gelu",
}  # fmt: skip


def test_a_made_up_configuration(tmp_path, capsys):
    path = tmp_path / "made_up.json"
    path.write_text(json.dumps(MADE_UP))
    table = tmp_path / "kernels.parquet"
    assert (
        main(["graph", "--model", str(path), "--sequence", "64", "--batch", "3", "--json", "--output", str(table)])
        == 0
    )
    printed = capsys.readouterr()
    summary = json.loads(printed.out)["answer"]
    weights = 5 * (96 * 96 * 2 + 2 * 96 * 32 + 3 * 96 * 200)
    assert summary["parameters"] == weights + 1000 * 96 + 11 * 96
    assert summary["matrix_flops"] == 2 * (weights + 1000 * 96) * 192 + 4 * 3 * 64**2 * 96 * 5
    assert "hiden_act" in printed.err
    frame = read(table, KERNEL_LIST)
    assert frame["count"].sum() == summary["kernels"]
    assert summary["flops_per_byte"] == pytest.approx(
        summary["flops"] / (summary["bytes_read"] + summary["bytes_written"]), abs=1e-4
    )


def test_text_output_and_fusion(capsys):
    assert main(["graph", "--model", "gpt2", "--fuse", "--mode", "training", "--sequence", "32"]) == 0
    printed = capsys.readouterr().out
    assert "124,439,808" in printed
    assert "accumulation" in printed


def test_a_module_of_the_users(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_nets.py").write_text("from torch import nn\n\n\ndef net():\n    return nn.Linear(7, 3)\n")
    monkeypatch.chdir(tmp_path)
    assert main(["graph", "--module", "my_nets:net", "--input", "5x7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["matrix_flops"] == 2 * 5 * 7 * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nothing"], "is no known model"),
        (["--model", "gpt2", "--sequence", "5000"], "1024 positions"),
        (["--model", "gpt2", "--output", "x.txt"], "neither .parquet nor .csv"),
        (["--module", "no_such_package:net"], "cannot be imported"),
        (["--module", "torch.nn:Linear"], "cannot be built"),
        (["--module", "math:sqrt"], "cannot be built"),
        (["--module", "torch.nn:Identity"], "needs example inputs"),
        (["--module", "torch.nn:Identity", "--input", "wide"], "is no shape"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["graph", *arguments]) == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
