"""Tracing: closed forms, published counts, modes, phases, formats, and modules nobody anticipated."""

import json
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from tilecast.base.errors import InputError  # noqa: E402
from tilecast.graph.tracer import trace  # noqa: E402
from tilecast.models.registry import load_model, model_names  # noqa: E402
from tilecast.tables.declared.graphs import KERNEL_LIST  # noqa: E402
from tilecast.tables.io import check  # noqa: E402

# name: (layers, hidden, heads x head width, key-value width, matrices of the MLP, MLP width, vocabulary)
DENSE = {
    "gpt2": (12, 768, 768, 768, 2, 3072, 50257),
    "gpt2_large": (36, 1280, 1280, 1280, 2, 5120, 50257),
    "gpt3_xl": (24, 3072, 3072, 3072, 2, 12288, 50257),
    "gpt3_27": (32, 2560, 2560, 2560, 2, 10240, 50257),
    "opt_13": (24, 2048, 2048, 2048, 2, 8192, 50272),
    "llama2_7b": (32, 4096, 4096, 4096, 3, 11008, 32000),
    "llama2_13b": (40, 5120, 5120, 5120, 3, 13824, 32000),
    "llama2_70b": (80, 8192, 8192, 1024, 3, 28672, 32000),
    "llama3_8b": (32, 4096, 4096, 1024, 3, 14336, 128256),
    "llama3_70b": (80, 8192, 8192, 1024, 3, 28672, 128256),
}


def closed_form(name: str, layers: int, batch: int, length: int) -> int:
    """2 x weights used x tokens + 4 B S^2 h L, from the dimensions alone."""
    _, hidden, width, kv, matrices, mlp, vocabulary = DENSE[name]
    weights = layers * (2 * hidden * width + 2 * hidden * kv + matrices * hidden * mlp) + hidden * vocabulary
    return 2 * weights * batch * length + 4 * batch * length**2 * width * layers


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_flops_are_the_closed_form_and_backward_is_twice_forward(name, whole):
    """Of four layers; gpt2's twelve are there below, and `make test-all` takes all of each model."""
    layers = DENSE[name][0] if whole else 4
    mode = "inference" if "70b" in name else "training"
    graph = trace(load_model(name).shortened(layers), mode=mode, batch_size=2, sequence_length=128)
    forward = graph.total("linear", "bmm", phase="forward")
    assert forward == pytest.approx(closed_form(name, layers, 2, 128), rel=1e-9)
    if mode == "training":
        assert graph.total("linear", "bmm", phase="backward") == 2 * forward


def test_a_whole_model_has_the_closed_form_of_its_layers():
    graph = trace("gpt2", batch_size=2, sequence_length=128)
    assert graph.total("linear", "bmm", phase="forward") == closed_form("gpt2", DENSE["gpt2"][0], 2, 128)


def test_bert_has_its_closed_form_too():
    layers = 3
    spec = load_model("bert_large").shortened(layers)
    graph = trace(spec, mode="training", batch_size=2, sequence_length=512)
    tokens, hidden = 2 * 512, 1024
    encoder = layers * (4 * hidden**2 + 2 * hidden * 4096)
    heads = (hidden**2 + hidden * 30522) * tokens + (hidden**2 + 2 * hidden) * 2  # language model; pooler and pair
    expected = 2 * encoder * tokens + 2 * heads + 4 * 2 * 512**2 * hidden * layers
    assert graph.total("linear", "bmm", phase="forward") == expected
    assert graph.total("linear", "bmm", phase="backward") == 2 * expected


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name.startswith("switch") else [])  # which has most modules
    for name in model_names() if load_model(name).parameters
])  # fmt: skip
def test_parameters_are_the_published_count(name):
    from tilecast.graph.build import build

    module = build(load_model(name), "inference", "fp32", "eager")
    assert sum(parameter.numel() for parameter in module.parameters()) == load_model(name).parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit16x12x768", "resnet50"])
def test_vision_models(name):
    graph = trace(name, mode="training", batch_size=2)
    forward = graph.total("linear", "bmm", "conv", phase="forward")
    first = graph.expand()
    matrix = next(launch.kernel for launch in first if launch.kernel.family in ("linear", "conv"))
    # the first layer's input needs no gradient
    assert graph.total("linear", "bmm", "conv", phase="backward") == 2 * forward - (
        matrix.flops if name == "resnet50" else 0
    )
    if name == "vit16x12x768":
        patches, tokens = 196 * 2, 197 * 2
        weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
        expected = 2 * (weights * tokens + 768 * 768 * patches + 2 * 768 * 1000) + 4 * 2 * 197**2 * 768 * 12
        assert forward == expected
    else:
        assert forward / 2 == pytest.approx(4.09e9 * 2, rel=0.01)  # multiply-adds of ResNet-50 at 224 x 224


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chosen", "experts", "width"), [
    ("mixtral_8x7b", 2, 8, 14336), ("qwen3_30b_a3b", 8, 128, 768),
])  # fmt: skip
def test_experts_cost_k_of_n(name, chosen, experts, width):
    spec = load_model(name).shortened(4)
    layers, hidden = spec.values["num_hidden_layers"], spec.values["hidden_size"]
    frame = trace(spec, batch_size=1, sequence_length=256).kernels()
    frame = frame[frame["module"].str.endswith("experts") & (frame["family"] == "bmm")]
    dense = 2 * 256 * 3 * hidden * width * experts * layers
    assert (frame["flops"] * frame["count"]).sum() == dense * chosen // experts


@pytest.mark.slow
def test_switch_respects_the_capacity_of_its_configuration():
    spec = load_model("switchxl4").shortened(2)  # of which every other layer has experts
    frame = trace(spec, sequence_length=512, batch_size=2).kernels()
    experts = frame[frame["module"].str.contains("expert_0.wi")]
    assert set(experts["m"]) == {64 * 2}
    smaller = trace(spec, sequence_length=128, batch_size=1).kernels()
    assert set(smaller[smaller["module"].str.contains("expert_0.wi")]["m"]) == {32}


@pytest.mark.slow
def test_routing_is_a_parameter():
    spec = load_model("mixtral_8x7b").shortened(2)
    zipf = trace(spec, sequence_length=128, routing="zipf:1")
    balanced = trace(spec, sequence_length=128)
    dropped = trace(spec, sequence_length=128, routing="zipf:1,capacity:1")
    assert zipf.total("bmm") == balanced.total("bmm")
    assert dropped.total("bmm") < balanced.total("bmm")


def test_training_has_its_phases_and_the_optimizer_when_asked():
    spec = load_model("gpt2").shortened(3)
    graph = trace(spec, mode="training", sequence_length=64, optimizer="adamw")
    frame = check(graph.kernels(), KERNEL_LIST, "traced")
    work = frame.assign(elements=frame["b"] * frame["m"] * frame["count"]).groupby("phase")["elements"].sum()
    assert work["accumulation"] == graph.about["parameters"]  # tied weights accumulate once
    assert work["optimizer"] == graph.about["parameters"]
    moved = frame[frame["phase"] == "optimizer"]
    assert (moved["bytes_read"] * moved["count"]).sum() == 16 * graph.about["parameters"]
    assert set(trace(spec, mode="training", sequence_length=64).kernels()["phase"]) == {
        "forward", "backward", "accumulation",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "switchxl4", "mixtral_8x7b"])
def test_decoding_reads_the_cache(name):
    spec = load_model(name) if name == "gpt2" else load_model(name).shortened(2)
    empty = trace(spec, phase="decode")
    one = trace(spec, sequence_length=1)
    assert empty.kernels().equals(one.kernels())
    short, long = (trace(spec, phase="decode", context=context) for context in (100, 200))
    assert (
        short.total("linear") == long.total("linear") or name == "switchxl4"
    )  # cross attention has its own cache
    difference = long.total("bmm") - short.total("bmm")
    layers = spec.values
    if name == "gpt2":
        assert difference == 100 * 4 * layers["n_embd"] * layers["n_layer"]
        appended = short.kernels().query("op == 'kv_append'")
        assert (appended["count"].sum(), set(appended["bytes_written"])) == (24, {4 * 768})


def test_fused_attention_is_one_kernel_with_the_same_flops():
    spec, small = load_model("llama2_7b").shortened(5), load_model("gpt2").shortened(3)
    eager = trace(spec, sequence_length=128)
    fused = trace(spec, sequence_length=128, attention="fused")
    assert fused.total("attention") == eager.total("bmm")
    assert (fused.summary()["families"]["attention"]["kernels"], fused.total("bmm", "softmax")) == (5, 0)
    training = trace(small, mode="training", sequence_length=128, attention="fused")
    forward = training.total("attention", phase="forward")
    assert training.total("attention", phase="backward") == 2.5 * forward  # the scores are computed again


@pytest.mark.parametrize(("dtype", "matrix", "vector", "size"), [
    ("fp32", "fp32", "fp32", 4), ("tf32", "tf32", "fp32", 4),
    ("fp16", "fp16", "fp16", 2), ("bf16", "bf16", "bf16", 2),
])  # fmt: skip
def test_the_number_format_is_a_property(dtype, matrix, vector, size):
    frame = trace("gpt2", dtype=dtype, sequence_length=64).kernels()
    assert set(frame[frame["family"] == "linear"]["dtype"]) == {matrix}
    assert set(frame[frame["family"] == "norm"]["dtype"]) == {vector}
    head = frame[frame["module"] == "lm_head"].iloc[0]
    assert head["bytes_read"] == size * (64 * 768 + 768 * 50257)
    assert head["bytes_written"] == size * 64 * 50257


def test_identical_layers_are_stored_once_and_expand_to_the_full_list():
    graph = trace("gpt2", sequence_length=64)
    full = graph.expand()
    assert len(full) == len(graph.wires) == graph.kernels()["count"].sum()
    assert sum(map(len, graph.blocks)) < len(full) / 5
    first, last = (
        [launch.kernel for launch in full if launch.module.startswith(f"transformer.h.{layer}.")]
        for layer in (0, 11)
    )
    assert first == last
    deeper = trace({**load_model("gpt2").values, "n_layer": 24}, sequence_length=64)
    assert [len(block) for block in deeper.blocks] == [len(block) for block in graph.blocks]


def test_layers_that_differ_are_not_folded():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

        def forward(self, x):
            for index, layer in enumerate(self.layers):
                x = layer(x)
                if index == 2:
                    x = x[:, :5].contiguous()
            return x

    graph = trace(Odd(), inputs=(torch.empty(2, 7, 8),))
    frame = graph.kernels()
    assert frame[frame["family"] == "linear"][["m", "count", "layer"]].values.tolist() == [
        [14, 3, "0-2"],
        [10, 1, "3"],
    ]


def test_a_module_nobody_anticipated():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(13, 13)
            self.out = nn.Linear(13, 5, bias=False)
            self.scale = torch.full((13,), 0.5)

        def forward(self, x, twice):
            for _ in range(3):
                x = torch.relu(self.shared(x)) * self.scale
            if twice:
                x = x + self.shared(x)
            weights = torch.softmax(x @ x.transpose(1, 2), dim=-1)
            return self.out(nn.functional.rms_norm(weights @ x, (13,)))

    module = Strange()
    graph = trace(module, mode="training", inputs=(torch.randn(3, 7, 13), True))
    frame = graph.kernels()
    linear = frame[(frame["family"] == "linear") & (frame["phase"] == "forward")]
    assert linear[["m", "n", "k", "count", "module"]].values.tolist() == [
        [21, 13, 13, 4, "shared"],
        [21, 5, 13, 1, "out"],
    ]
    assert frame[frame["family"] == "bmm"][["b", "m", "n", "k"]].iloc[0].tolist() == [3, 7, 7, 13]
    assert {"softmax", "norm"} <= set(frame["family"])
    # x needs no gradient in the first of the four uses
    backward = graph.total("linear", phase="backward")
    assert backward == 2 * graph.total("linear", phase="forward") - 2 * 21 * 13 * 13
    accumulated = frame[frame["phase"] == "accumulation"]
    assert (accumulated["b"] * accumulated["m"]).sum() == 13 * 13 + 13 + 5 * 13
    assert trace(module, inputs=(torch.randn(3, 7, 13), False)).total("linear") == 2 * 21 * 13 * (3 * 13 + 5)
    assert module.shared.weight.grad is None
    assert type(module.shared.weight) is nn.Parameter
    assert module.shared.weight.device.type == "cpu"
    assert torch.equal(module.scale, torch.full((13,), 0.5))


def test_attention_a_module_asks_for_is_written_out_or_fused():
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    example = (torch.empty(2, 16, 64),)
    eager, fused = (trace(layer, inputs=example, attention=attention) for attention in ("eager", "fused"))
    assert eager.total("bmm") == fused.total("attention") == 4 * 2 * 16**2 * 64
    assert eager.total("linear") == fused.total("linear") == 2 * 32 * (4 * 64**2 + 2 * 64 * 128)


def test_what_depends_on_data_is_refused_with_the_module_and_the_way_out():
    class Prune(nn.Module):
        def forward(self, x):
            return x[x > 0]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(4, 4), Prune())

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(InputError) as caught:
        trace(Model(), inputs=(torch.empty(2, 4),))
    message = str(caught.value)
    assert "module encoder.1 (Prune)" in message
    assert "depends on the data" in message
    assert "fixed sizes" in message
    assert "\n" not in message


def test_a_failing_module_is_named():
    with pytest.raises(InputError, match=r"module 1 \(Linear\): failed while it was traced"):
        trace(nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 5)), inputs=(torch.empty(2, 4),))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"mode": "training", "phase": "decode"}, "decode is a phase of inference"),
        ({"sequence_length": 2000}, "2000 tokens are more than its 1024 positions"),
        ({"sequence_length": 0}, "greater than or equal to 1"),
        ({"batch_size": 0}, "`batch_size` = 0"),
        ({"context": 5}, "a prefill has no `context`"),
        ({"dtype": "fp8"}, "expected one of fp32"),
        ({"routing": "random"}, "not known"),
        ({"optimizer": "lion", "mode": "training"}, "expected one of sgd"),
    ],
)
def test_impossible_requests_are_one_line(arguments, problem):
    with pytest.raises(InputError, match=problem):
        trace("gpt2", **arguments)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"model_type": "warp_drive"}, "unknown to transformers"),
        ({"model_type": "gpt2", "architectures": ["Trainer"]}, "no model class"),
        ({"model_type": "gpt2", "n_embd": 100, "n_head": 3}, "no model can be built"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "is not a whole number"),
    ],
)
def test_configurations_that_make_no_model_are_one_line(values, problem):
    with pytest.raises(InputError, match=problem) as caught:
        trace(values, sequence_length=8)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_llama_13b_training_needs_no_weights():
    program = textwrap.dedent(
        """
        import json, resource, time
        from tilecast.graph.tracer import trace
        start = time.process_time()
        graph = trace("llama2_13b", mode="training", sequence_length=2048)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([time.process_time() - start, used, graph.about["parameters"]]))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, kilobytes, parameters = json.loads(done.stdout)
    assert parameters == 13015864320
    assert seconds < 10
    assert kilobytes < 1.5e6


def test_attention_in_one_kernel_is_refused_where_the_class_has_none() -> None:
    with pytest.raises(InputError, match="has no attention in one kernel"):
        trace("switchxl4", attention="fused", sequence_length=16)
