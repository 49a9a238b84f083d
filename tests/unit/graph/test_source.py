"""Kernels from records and from the cache are those of a live trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tilecast.base.errors import InputError
from tilecast.base.paths import MODELS
from tilecast.graph import source
from tilecast.graph.routing import Routing
from tilecast.graph.source import kernel_graph, recorded
from tilecast.graph.symbolic import Formula, NotCovered, Question
from tilecast.models.architecture import architecture, layer_kinds, of_kind
from tilecast.models.registry import load_model

torch = pytest.importorskip("torch")

from tilecast.graph.tracer import trace  # noqa: E402

# model, layers, question: every kind of step, and the cases that differ (one sequence, shared keys, ranks)
TRACED: list[tuple[str, int, dict[str, object]]] = [
    ("gpt2", 12, {"sequence_length": 1024}),
    ("gpt2", 2, {"sequence_length": 300, "batch_size": 5, "dtype": "fp16", "attention": "fused"}),
    ("gpt2_large", 4, {"sequence_length": 77, "batch_size": 3, "mode": "training", "optimizer": "adamw"}),
    ("gpt3_175b", 2, {"sequence_length": 2048, "batch_size": 8, "tp": 8, "dtype": "bf16", "attention": "fused"}),
    ("gpt3_xl", 4, {"mode": "training", "batch_size": 1, "sequence_length": 128, "tp": 6, "dtype": "bf16"}),
    ("gpt3_27", 2, {"phase": "decode", "context": 900, "batch_size": 16, "dtype": "tf32"}),
    ("opt_13", 3, {"mode": "training", "optimizer": "sgd", "sequence_length": 64, "dtype": "tf32", "tp": 4}),
    ("opt_13", 2, {"phase": "decode", "context": 33, "dtype": "bf16", "tp": 2, "attention": "fused"}),
    ("llama2_7b", 4, {"sequence_length": 100, "batch_size": 2, "tp": 8, "dtype": "bf16"}),
    ("llama2_13b", 2, {"phase": "decode", "context": 100, "batch_size": 7, "attention": "fused", "dtype": "fp16"}),
    ("llama2_70b", 2, {"sequence_length": 512, "batch_size": 4, "tp": 8, "dtype": "bf16", "attention": "fused"}),
    ("llama2_70b", 3, {"mode": "training", "sequence_length": 60, "tp": 16, "optimizer": "adam", "dtype": "bf16"}),
    ("llama3_8b", 2, {"phase": "decode", "context": 511, "batch_size": 1, "tp": 2}),
    ("llama3_70b", 2, {"mode": "training", "sequence_length": 90, "batch_size": 2, "optimizer": "momentum"}),
    ("bert_large", 2, {"sequence_length": 100, "tp": 4}),
    ("mixtral_8x7b", 2, {"sequence_length": 129, "batch_size": 4, "tp": 2, "dtype": "bf16"}),
    ("mixtral_8x7b", 2, {"phase": "decode", "context": 64, "batch_size": 2, "dtype": "bf16"}),
    ("mixtral_8x7b", 3, {"mode": "training", "sequence_length": 64, "batch_size": 2, "optimizer": "adamw"}),
    ("qwen3_30b_a3b", 2, {"sequence_length": 512, "batch_size": 4, "dtype": "bf16"}),
    ("qwen3_235b_a22b", 2, {"phase": "decode", "context": 40, "batch_size": 64, "tp": 4, "attention": "fused"}),
    ("resnet50", 0, {"batch_size": 3, "sequence_length": 64}),
    ("resnet50", 0, {"batch_size": 1, "sequence_length": 64, "mode": "training", "dtype": "bf16"}),
]


OFTEN = [TRACED[n] for n in (1, 7, 10, 14, 19)]  # in `make unit`: a few kinds of step


@pytest.mark.parametrize(
    ("name", "layers", "step"),
    [pytest.param(*one, marks=[] if one in OFTEN else pytest.mark.slow) for one in TRACED],
    ids=lambda value: str(value)[:60],
)
def test_a_record_gives_what_a_trace_does(name: str, layers: int, step: dict) -> None:
    spec = load_model(name)
    spec = spec.shortened(layers) if layers else spec
    found = recorded(spec, Question(**step))
    assert found is not None
    length = None if step.get("phase") == "decode" else step["sequence_length"]
    traced = trace(spec, **step | {"sequence_length": length})
    assert found == traced
    assert list(found.about) == list(traced.about)


# Models with layers of several kinds, each kind with records of that model alone: a step of each, beyond what was
# learnt from in tokens.
KINDS = [(path.stem, kind) for path in sorted(MODELS.glob("*.json")) for kind in range(3)
         if next(source.KERNELS.glob(f"*_{path.stem}_{kind}.json"), None)]  # fmt: skip
MIXED = [
    pytest.param(name, kind, step, marks=[] if kind == 0 and "sequence_length" in step else pytest.mark.exhaustive)
    for name, kind in KINDS
    for step in (
        {"sequence_length": 2048, "batch_size": 4},
        {"phase": "decode", "context": 2048, "batch_size": 16},
    )
]


@pytest.mark.parametrize(("name", "kind", "step"), MIXED, ids=lambda value: str(value)[:60])
def test_a_record_of_one_model_gives_what_a_trace_of_a_rank_does(name: str, kind: int, step: dict) -> None:
    spec = load_model(name)
    own = of_kind(spec, list(dict.fromkeys(layer_kinds(spec)))[kind]).shortened(4)
    step = {**step, "dtype": "bf16", "attention": "fused", "tp": 8}
    found = recorded(own, Question(**{"sequence_length": 1, **step}))
    assert found is not None
    assert found == trace(own, **step)
    other = type(own)("other", {**own.values, "hidden_size": own.values["hidden_size"] // 2}, "x")
    assert recorded(other, Question(**{"sequence_length": 1, **step})) is None


def test_what_no_record_covers_is_said_to_be_none() -> None:
    gpt2 = load_model("gpt2")
    assert recorded(gpt2, Question(sequence_length=64, tp=5)) is None  # heads do not divide
    assert recorded(load_model("vit16x2x256"), Question()) is None
    values = {**gpt2.values, "activation_function": "relu"}
    assert recorded(type(gpt2)("mine", values, "here"), Question(sequence_length=64)) is None


def test_formulas_hold_whole_numbers_only() -> None:
    formula = Formula.parse("12+4BSh-1/2dL-3i+Lj")
    assert formula.at({"B": 2, "S": 3, "h": 5, "d": 6, "L": 7}) == (12 + 120 - 21, -3, 7)
    with pytest.raises(NotCovered):
        Formula.parse("1/2d").at({"d": 3})


# ---------------------------------------------------------------- the cache


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's model, whose configuration no record fits, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values = json.loads((MODELS / "gpt2.json").read_text()) | {"n_layer": 2, "activation_function": "relu"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(values))
    return path


def entries(path: Path) -> list[Path]:
    return sorted((path.parent / "cache/tilecast/kernels").glob("*"))


def test_a_users_model_is_traced_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel_graph(mine, sequence_length=32)
    assert len(entries(mine)) == 1
    monkeypatch.setitem(sys.modules, "tilecast.graph.tracer", None)  # an import of it fails
    assert kernel_graph(mine, sequence_length=32) == first
    with pytest.raises(InputError, match="needs torch"):
        kernel_graph(mine, sequence_length=33)


@pytest.mark.parametrize("content", [b"", b"no checksum", b"0" * 64 + b"\n{}", None])
def test_an_entry_that_is_not_whole_is_ignored_and_rewritten(mine: Path, content: bytes | None) -> None:
    first = kernel_graph(mine, sequence_length=32)
    (entry,) = entries(mine)
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-20] + whole[-10:] if content is None else content)
    assert kernel_graph(mine, sequence_length=32) == first
    assert entry.read_bytes() == whole


def test_an_entry_of_another_question_is_not_believed(mine: Path) -> None:
    kernel_graph(mine, sequence_length=32)
    (other,) = entries(mine)
    first = kernel_graph(mine, sequence_length=48)
    (own,) = set(entries(mine)) - {other}
    own.write_bytes(other.read_bytes())
    assert kernel_graph(mine, sequence_length=48) == first


def test_the_key_follows_configuration_question_versions_and_tracer(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_model(mine)

    def key(**step: object) -> str:
        source._versions.cache_clear()
        return source._cached(spec, Question(**step), Routing()).name

    keys = {key(), key(batch_size=2), key(tp=2), key(dtype="bf16")}
    monkeypatch.setattr(source, "version", lambda package: "0.0")
    keys.add(key())
    monkeypatch.setattr(source, "_TRACER", ("tracer",))
    keys.add(key())
    spec = type(spec)(spec.name, {**spec.values, "n_layer": 3}, spec.source)
    keys.add(key())
    assert len(keys) == 7
    source._versions.cache_clear()


def test_a_cache_that_cannot_be_written_is_done_without(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.with_name("file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(mine.with_name("file")))
    assert kernel_graph(mine, sequence_length=16).about["model"] == "mine"


TWICE = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tilecast.graph import source

model, kept, begin = map(Path, sys.argv[1:])
graph = source._read(kept)
sys.modules["tilecast.graph.tracer"] = SimpleNamespace(trace=lambda *_, **__: graph)  # which takes seconds to load
print("ready", flush=True)
end = time.monotonic() + 60
while not begin.exists() and time.monotonic() < end:
    time.sleep(0.001)
assert source.kernel_graph(model, sequence_length=32) == graph
"""


def test_two_processes_at_once_leave_one_whole_entry(mine: Path) -> None:
    traced = kernel_graph(mine, sequence_length=32)
    (entry,) = entries(mine)
    whole, begin = entry.read_bytes(), mine.with_name("begin")
    kept = entry.rename(mine.parent / entry.name)
    command = [sys.executable, "-c", TWICE, str(mine), str(kept), str(begin)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.stdout and process.stdout.readline() for process in both] == ["ready\n"] * 2
    begin.touch()
    assert [process.wait() for process in both] == [0, 0]
    (entry,) = entries(mine)
    assert entry.read_bytes() == whole
    assert source._read(entry) == traced


@pytest.mark.parametrize("name", ["deepseek_v3", "gpt_oss_120b", "kimi_k2", "llama4_maverick", "qwen3_30b_a3b"])
def test_recorded_experts_share_out_every_token_and_are_no_more_than_there_are(name: str) -> None:
    """A record holds for batches that it was not learnt from, also where each expert gets several tokens."""
    spec = load_model(name)
    model, kinds = architecture(spec), dict.fromkeys(layer_kinds(spec))
    found = 0
    for kind in (kind for kind in kinds if kind.experts):
        some = of_kind(spec, kind) if len(kinds) > 1 else spec
        for batch in (1, 3, 16, 24, 32, 64, 100, 128, 200, 256, 384, 512):
            asked = Question("inference", "decode", 1, batch, 1024, "bf16", "fused", None, 1, 1)
            graph = recorded(some.shortened(4), asked)
            if graph is None:
                continue  # then it is traced
            table = graph.kernels()
            up = table[(table["family"] == "bmm") & (table["k"] == model.hidden) & (table["n"] == 2 * model.ffn)]
            layers = up["count"].max()
            assert (up["b"] * up["m"] * up["count"]).sum() == layers * batch * model.top_k
            assert (up["b"] * up["count"]).sum() <= layers * model.experts
            found += 1
    assert found >= 4
