"""Fusion, classes of kernels, bytes: on small modules whose answer is known by hand; and the artifact's graphs."""

from pathlib import Path

import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from tilecast.graph.fuse import fuse  # noqa: E402
from tilecast.graph.source import kernel_graph  # noqa: E402
from tilecast.graph.tracer import trace  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


class Function(nn.Module):
    """A module around one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def kernels(function, *shapes, fused=False):
    graph = trace(Function(function), inputs=tuple(torch.empty(shape) for shape in shapes))
    return [launch.kernel for launch in (fuse(graph) if fused else graph).expand()]


def test_a_chain_reads_its_inputs_and_writes_its_result():
    (kernel,) = kernels(lambda x, y: torch.relu(torch.tanh(x * 2) + y), (4, 8), (8,), fused=True)
    assert (kernel.family, kernel.op, kernel.flops) == ("elementwise", "mulu+tanh+add+relu", 4 * 32)
    assert (kernel.bytes_read, kernel.bytes_written) == (4 * (32 + 8), 4 * 32)


def test_what_two_kernels_read_is_not_fused():
    found = kernels(lambda x: _twice(x + 1), (4, 4), fused=True)
    assert [kernel.op for kernel in found] == ["addu", "tanh", "relu"]


def _twice(x):
    return torch.tanh(x), torch.relu(x)


def test_a_matrix_product_ends_a_chain():
    found = kernels(lambda x, y: torch.relu(torch.tanh(x) @ y) * 2, (4, 8), (8, 2), fused=True)
    assert [kernel.op for kernel in found] == ["tanh", "linear", "relu+mulu"]


def test_softmax_and_norm_join_their_producers():
    found = kernels(lambda x, y: torch.softmax(x / 3 + y, -1), (4, 8), (4, 8), fused=True)
    assert [(kernel.family, kernel.op) for kernel in found] == [("softmax", "divu+add+softmax")]
    found = kernels(lambda x, y: nn.functional.layer_norm(x + y, (8,)), (4, 8), (4, 8), fused=True)
    assert [(kernel.family, kernel.op, kernel.b, kernel.m) for kernel in found] == [("norm", "add+ln", 4, 8)]


def test_a_written_out_rms_norm_is_one_norm():
    def rms(x, weight):
        y = x * 1.0
        return weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6))

    found = kernels(rms, (4, 8), (8,), fused=True)
    assert [(kernel.family, kernel.op) for kernel in found] == [
        ("elementwise", "mulu"),
        ("norm", "powu+mean+addu+rsqrt+mul+mul"),
    ]
    assert found[1].bytes_read == 4 * (32 + 8)


def test_other_shapes_do_not_fuse():
    found = kernels(lambda x: torch.relu(torch.cat((torch.tanh(x), x))), (4, 8), fused=True)
    assert [kernel.op for kernel in found] == ["tanh", "cat", "relu"]


@pytest.mark.parametrize(
    ("function", "shapes", "family", "op", "operands", "read", "written"),
    [
        (lambda x, y: x + y, [(4, 8), (4, 8)], "elementwise", "add", 2, 256, 128),
        (lambda x: x + 1, [(4, 8)], "elementwise", "addu", 1, 128, 128),
        (lambda x, y: x * y, [(4, 8), (1, 8)], "elementwise", "mul", 2, 160, 128),
        (lambda x: x**2, [(4, 8)], "elementwise", "powu", 1, 128, 128),
        (lambda x: x.expand(16, 4, 8) / 2, [(4, 8)], "elementwise", "divu", 1, 128, 2048),
        (nn.functional.gelu, [(4, 8)], "elementwise", "gelu", 1, 128, 128),
        (lambda x: x.t().contiguous(), [(4, 8)], "memory", "copy", 1, 128, 128),
        (lambda x: x.half(), [(4, 8)], "memory", "cast", 1, 128, 64),
        (lambda x: x.sum(-1), [(4, 8)], "other", "sum", 1, 128, 16),
        (lambda x: torch.topk(x, 2)[0], [(4, 8)], "other", "topk", 1, 128, 4 * 8 + 8 * 8),
        (lambda x: nn.functional.rms_norm(x, (8,)), [(4, 8)], "norm", "rmsnorm", 1, 128, 128 + 16),
        (lambda w: nn.functional.embedding(torch.zeros(3, dtype=torch.long), w), [(100, 8)],
         "memory", "embedding", 2, 3 * 8 * 4 + 3 * 8, 96),
        (lambda x: x.add_(1), [(4, 8)], "elementwise", "addu", 1, 128, 128),
    ],
)  # fmt: skip
def test_classes_and_bytes(function, shapes, family, op, operands, read, written):
    kernel = kernels(function, *shapes)[-1]
    assert (kernel.family, kernel.op, kernel.operands) == (family, op, operands)
    assert (kernel.bytes_read, kernel.bytes_written) == (read, written)


def test_views_launch_nothing():
    assert kernels(lambda x: x.view(8, 4).t()[None, 1:].unsqueeze(0).expand(3, -1, -1, -1).detach(), (4, 8)) == []


@pytest.mark.parametrize(
    ("layer", "shape", "dims"),
    [
        (nn.Conv2d(6, 10, 3, stride=2, padding=1), (2, 6, 9, 9), (1, 50, 10, 54)),
        (nn.Conv2d(6, 12, 1, groups=3), (2, 6, 5, 5), (3, 50, 4, 2)),
        (nn.Conv1d(3, 7, 5), (4, 3, 20), (1, 64, 7, 15)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), (1, 25, 24, 4)),
    ],
)
def test_convolutions_are_matrix_products(layer, shape, dims):
    example = (torch.empty(shape, requires_grad=True),)
    graph = trace(nn.Sequential(nn.Identity(), layer), inputs=example)
    kernel = graph.expand()[-1].kernel
    assert (kernel.family, kernel.b, kernel.m, kernel.n, kernel.k) == ("conv", *dims)
    training = trace(
        nn.Sequential(layer, layer.__class__(layer.out_channels, 2, 1)), mode="training", inputs=example
    )
    backward = training.total("conv", phase="backward")
    assert backward == 2 * training.total("conv", phase="forward") - kernel.flops  # no gradient of the example


def test_what_differs_from_the_artifact_has_a_reason_and_is_never_work():
    """The products of either side add up to the same FLOPs; tests/workflow/test_finished.py computes the table."""
    found = pd.read_csv(ROOT / "resources/published/graph_differences.csv", keep_default_na=False)
    assert (found["reason"] != "").all()
    columns = ["model", "mode", "sequence_length", "batch_size", "option", "phase"]
    products = found[found["what"].str.startswith("product")].copy()
    size = products["what"].str.removeprefix("product ").map(multiplied)
    balance = (size * (products["ours"] - products["artifact"])).groupby(
        [products[column] for column in columns]
    ).sum()  # fmt: skip
    assert (balance == 0).all()


def multiplied(text: str) -> int:
    """Multiply the numbers of `1x2x3x4`."""
    result = 1
    for part in text.split("x"):
        result *= int(part)
    return result


def test_an_engine_merges_products_of_one_input_and_a_compiler_does_not():
    """A LLaMA layer's products: seven, of which an engine merges queries, keys and values, and gate and up."""
    spec = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 64,
    }  # fmt: skip
    graph = kernel_graph(spec, sequence_length=16)
    products = [
        sum(launch.kernel.family == "linear" for launch in found.expand())
        for found in (graph, fuse(graph), fuse(graph, engine=True))
    ]
    assert products[0] == products[1] == products[2] + 3
