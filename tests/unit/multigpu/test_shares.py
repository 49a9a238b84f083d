"""Kernels of one GPU's share of a model: what parallelism divides, and what is shipped for published steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from decoders import DECODERS, GROUPED, ROUTED, small, verdict

from tilecast.base.errors import InputError
from tilecast.base.paths import SHARES
from tilecast.evaluate.published_steps import TABLES, artifact_cases, megatron_cases
from tilecast.graph.build import build
from tilecast.graph.cut import cut
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.models.architecture import LayerKind, equal_layers, of_kind
from tilecast.models.registry import load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout, legal
from tilecast.multigpu.memory import parameters
from tilecast.multigpu.shard import Shape, _sorted, _traced, share
from tilecast.multigpu.shipped_shares import load
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.registry import load_predictor

ROOT = Path(__file__).resolve().parents[3]
GPT = load_model("gpt2")
MOE = {
    "model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 1000, "max_position_embeddings": 512, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2", "opt_13", "llama3_8b", "bert_large"])
def test_a_tensor_ranks_matrices_are_its_share(name):
    """Matrix work divides by tp (vocabularies are rounded up), nothing else of a layer's count changes."""
    work = Workload(load_model(name), 2, 128, "training", dtype="bf16")

    def flops(tp):
        rows = share(work, Shape(tp, 1, 1, 2, False)).kernels
        return {
            phase: sum(k.flops * n for k, n in rows["layer", phase] if k.family in ("linear", "bmm"))
            for phase in ("forward", "backward")
        }

    assert {phase: value * 4 for phase, value in flops(4).items()} == flops(1)


def test_expert_ranks_hold_their_experts_and_get_as_many_tokens():
    work = Workload(model_spec(MOE, "moe", "x"), 4, 256, "training", dtype="bf16")
    one, four = (share(work, Shape(1, ep, 1, 4, False)).kernels["layer", "forward"] for ep in (1, 4))

    def flops(rows):
        return sum(kernel.flops * count for kernel, count in rows if kernel.family in ("linear", "bmm"))

    assert flops(one) == flops(four)
    assert sum(k.bytes_read for k, _ in four) < sum(k.bytes_read for k, _ in one)


def test_sequence_parallel_norms_see_their_tokens_only():
    work = Workload(GPT, 2, 256, "training", dtype="bf16")
    plain, split = (share(work, Shape(4, 1, 1, 2, flag)).kernels["layer", "forward"] for flag in (False, True))
    norms = [[k.b for k, _ in rows if k.family == "norm"] for rows in (plain, split)]
    assert norms == [[512, 512], [128, 128]]
    matrices = [[k for k, _ in rows if k.n] for rows in (plain, split)]
    assert matrices[0] == matrices[1]


@pytest.mark.parametrize(
    "kind", [{"mode": "training", "fused": True, "optimizer": "adam"}, {"mode": "inference", "attention": "fused"}]
)
def test_microbatches_grow_as_two_traces_say(kind):
    work, shape = Workload(GPT, 16, 256, dtype="bf16", **kind), Shape(2, 1, 1, 8, False)
    assert share(work, shape) == _sorted(work, shape, _traced(work, 2, 1, 1, 8))


def test_a_ring_sees_all_keys():
    """Context parallelism leaves a rank s/cp queries and all s keys, chunk by chunk."""
    work = Workload(GPT, 4, 512, "training", dtype="bf16")
    whole, ring = (share(work, Shape(1, 1, cp, 2, False)).kernels["layer", "core"] for cp in (1, 4))
    products = [sum(k.flops * n for k, n in rows if k.family == "bmm") for rows in (whole, ring)]
    assert products[0] == 4 * products[1]


def cases():
    labels = pd.read_csv(ROOT / "resources/published/end_to_end.csv")
    folder = ROOT / "resources/published"
    megatron = [megatron_cases(suite, pd.read_csv(folder / name)) for suite, name in TABLES.items()]
    return [artifact_cases(labels[labels["predictor"] == "measured"]), *megatron]


def test_the_suites_are_whole_and_their_layouts_use_the_gpus_stated():
    artifact, *megatron = cases()
    assert [len(artifact), *map(len, megatron)] == [11, 10, 8]
    for case in megatron[0] + megatron[1]:
        row, architecture = case.row, case.work.architecture
        assert legal(case.layout, architecture, row["gpus"], row["batch"], 2048) is None
        assert case.layout.gpus == row["gpus"]
        assert parameters(architecture) == pytest.approx(row["parameters_billion"] * 1e9, rel=0.04)
    # SC '21, section 5.1: one trillion parameters, 84 days for 450 billion tokens at 163 teraFLOP/s
    assert megatron[0][-1].measured_ms / 1e3 / (3072 * 2048) * 450e9 / 86400 == pytest.approx(84, rel=0.03)
    assert [case.measured_ms for case in megatron[1][:2]] == [1420, 1100]


@pytest.mark.slow
def test_shipped_kernels_are_those_a_trace_finds():
    for suite in cases():
        work, shape = suite[0].work, Shape.of(suite[0].layout)
        assert load(SHARES, work)[shape] == share(work, shape)


def test_every_validation_case_is_shipped():
    for suite in cases():
        for case in suite:
            assert Shape.of(case.layout) in load(SHARES, case.work)


def test_a_file_of_kernels_that_is_none(tmp_path):
    broken = tmp_path / "kernels.json"
    broken.write_text('{"kernels": [[1]]}')
    with pytest.raises(InputError, match="holds no traced kernels"):
        load(broken, Workload(GPT, 16, 256))


def shapes(spec, tp, ep=1):
    """A model after cutting, and the shapes of its parameters by name."""
    model = build(spec, "training", "bf16", "eager")
    cut(model, tp, ep)
    return model, {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def test_a_gpt2_rank_holds_columns_of_the_first_and_rows_of_the_second_matrices():
    """Width 768, 50,257 words: `Conv1D` keeps [inputs, outputs]; biases after a sum and norms stay whole."""
    model, held = shapes(GPT, 4)

    def of(ending):
        return next(size for name, size in held.items() if name.endswith(ending))

    assert (of("attn.c_attn.weight"), of("attn.c_attn.bias")) == ((768, 3 * 192), (3 * 192,))
    assert (of("attn.c_proj.weight"), of("attn.c_proj.bias")) == ((192, 768), (768,))
    assert (of("mlp.c_fc.weight"), of("mlp.c_fc.bias")) == ((768, 768), (768,))
    assert (of("mlp.c_proj.weight"), of("mlp.c_proj.bias")) == ((768, 768), (768,))
    assert (of("ln_1.weight"), of("wpe.weight")) == ((768,), (1024, 768))
    assert of("wte.weight") == (-(-50257 // 4), 768)
    layer = next(module for name, module in model.named_modules() if name.endswith("h.0.attn"))
    assert (layer.num_heads, layer.split_size, layer.c_attn.nf) == (3, 192, 3 * 192)


def test_an_expert_rank_holds_its_experts_and_a_tensor_rank_its_part_of_each():
    """Eight experts of width 512 over 256; 4 key-value heads of 32 are copied where 8 ranks share 4."""
    _, held = shapes(model_spec(MOE, "moe", "x"), 2, 4)
    stacked = {name.rpartition(".")[2]: size for name, size in held.items() if len(size) == 3}
    assert stacked == {
        "down_proj": (2, 256, 256),
        "gate_up_proj": (2, 512, 256),
    }  # down: 512 / 2 inputs; gate and up together: 2 x 512 / 2
    assert {size for name, size in held.items() if "k_proj" in name or "v_proj" in name} == {(64, 256)}
    _, eight = shapes(model_spec(MOE, "moe", "x"), 8)
    assert {size for name, size in eight.items() if "k_proj" in name or "v_proj" in name} == {(32, 256)}
    assert {size for name, size in eight.items() if "q_proj" in name} == {(32, 256)}
    assert {size for name, size in eight.items() if "o_proj" in name} == {(256, 32)}


def test_context_parallel_ranks_do_the_core_of_attention_once_for_each_part():
    """Each rank's queries meet the keys of every rank; matrices and norms see their own tokens alone."""
    work = Workload(GPT, 2, 512, "training", dtype="bf16")
    one, two = (share(work, Shape(1, 1, cp, 2, False)).kernels for cp in (1, 2))

    def counted(rows, *families):
        return sum(number for kernel, number in rows["layer", "forward"] if kernel.family in families)

    assert counted(two, "bmm", "softmax") == 2 * counted(one, "bmm", "softmax")
    assert counted(two, "linear", "norm") == counted(one, "linear", "norm")
    assert counted(two, "elementwise") < 2 * counted(one, "elementwise")


@pytest.mark.parametrize("tokens", [32, 64, 128, 256])
def test_attentions_inner_part_is_the_same_kernels_whatever_the_number_of_tokens(tokens: int) -> None:
    """Heads of 64: 64 tokens give norms and copies of keys the size of scores, 256 the activations of the MLP."""
    work = Workload(GPT, 1, tokens, "training", dtype="bf16")
    core = share(work, Shape(1, 1, 1, 1, False)).kernels["layer", "core"]
    assert [kernel.op for kernel, _ in core] == ["bmm", "mulu", "add", "softmax", "dropout", "bmm"]
    ring = share(work, Shape(1, 1, 2, 1, False)).kernels["layer", "forward"]
    assert Counter(number for _, number in ring)[2] == len(core)


OFTEN = ("Falcon, newer", "Phi-3", "DeepSeek-V3", "Llama-4", "Nemotron-H")  # the rest is for the whole suite


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.exhaustive) for name in DECODERS]
)
def test_ranks_work_weights_and_cache_add_up_to_the_whole_and_named_copies(family, monkeypatch, tmp_path) -> None:
    """Routers, latent projections and keys beyond their heads are on every rank; so are norms and their biases."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    row = verdict(family)
    assert row in (ROOT / "docs/understand/sharding.md").read_text(encoding="utf-8").splitlines()
    assert row.startswith(f"| {family} | equal | equal | equal |")


def test_every_familys_sums_are_documented() -> None:
    rows = (ROOT / "docs/understand/sharding.md").read_text(encoding="utf-8").splitlines()
    assert [row.split(" | ")[0][2:] for row in rows if "equal |" in row] == list(DECODERS)


def test_what_cannot_be_cut_is_refused_by_name() -> None:
    hybrid = small("Nemotron-H")
    older = replace(hybrid, values={**hybrid.values, "model_type": "jamba", "layer_types": ["mamba"] * 4})
    with pytest.raises(InputError, match="has layers of kind mamba, which are not cut over GPUs"):
        equal_layers(older)
    assert "4 groups of its state spaces do not divide by tp 8" in str(legal(Layout(tp=8), equal_layers(hybrid)))
    with pytest.raises(InputError, match=r"8 tensor-parallel ranks: 4 n_groups of model\.layers\.0\.mixer"):
        cut(build(hybrid, "inference", "bf16", "eager"), 8, 1)
    with pytest.raises(InputError, match="whose training is not modelled"):
        share(Workload(hybrid, 1, 32, "training", dtype="bf16"), Shape(2, 1, 1, 1, False))
    wide = small("Gemma-4")
    with pytest.raises(InputError, match="has heads of 64 in layers without a window, of 32 elsewhere"):
        equal_layers(replace(wide, values={**wide.values, "global_head_dim": 64}))


def test_latent_attention_decodes_on_what_its_cache_holds(monkeypatch, tmp_path) -> None:
    """One row of latent and rotated key a token, read once for all heads; no key or value is written out again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    work = Workload(small("DeepSeek-V3"), 2, 1, phase="decode", context=99, dtype="bf16", attention="fused")
    for tp in (1, 4):
        rows = share(work, Shape(tp, 1, 1, 2, False)).kernels["layer", "forward"]
        assert not any(kernel.m == 200 for kernel, _ in rows if kernel.family == "linear")  # of all cached tokens
        products = {(kernel.b, kernel.m, kernel.n, kernel.k) for kernel, _ in rows if kernel.op == "bmm"}
        assert {(8 // tp, 2, 64, 32), (8 // tp, 2, 32, 64)} <= products  # queries' and outputs', a head each
        core = [kernel for kernel, _ in rows if kernel.op == "latent"]
        assert {(k.b, k.m, k.n, k.k) for k in core} == {(2 * 8 // tp, 1, 100, 80)}
        assert {k.bytes_read for k in core} == {2 * (2 * 100 * 80 + 2 * 8 // tp * 80)}


def test_a_state_is_scanned_by_chunks_and_stepped_once_a_token(monkeypatch, tmp_path) -> None:
    """16 heads of 32 x 16 over 4 groups, chunks of 16 tokens: Dao and Gu's five kernels; one for a token alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = of_kind(small("Nemotron-H"), LayerKind("linear_attention", False))

    def scans(tp, **step):
        work = Workload(spec, 2, dtype="bf16", **step)
        rows = share(work, Shape(tp, 1, 1, 2, False)).kernels["layer", "forward"]
        return [(k.b, k.m, k.n, k.k) for k, _ in rows if k.op == "scan" and k.k], [
            k for k, _ in rows if k.op == "scan"
        ]

    for tp in (1, 4):
        heads, groups = 16 // tp, 4 // tp
        products, every = scans(tp, sequence_length=64)
        chunks = 2 * 4
        assert products == [
            (chunks * heads, 32, 16, 16), (chunks * groups, 16, 16, 16), (chunks * heads, 16, 32, 32)
        ]  # fmt: skip
        assert len(every) == 5
        products, (step,) = scans(tp, sequence_length=1, phase="decode", context=64)
        assert not products
        assert step.bytes_written == 4 * 2 * heads * 32 * 16


@pytest.mark.slow
def test_layers_of_several_kinds_are_their_mean() -> None:
    """A dense layer and one with experts: the step's kernels are those of both."""
    values = {"model_type": "glm4_moe", "num_hidden_layers": 8, **GROUPED, **ROUTED}
    spec = model_spec(values | {"first_k_dense_replace": 2}, "m", "m")
    work = Workload(spec, 1, 32, dtype="bf16", fused=True)
    mixed = share(work, Shape(2, 1, 1, 1, False)).kernels["layer", "forward"]
    alone = [
        share(replace(work, spec=of_kind(spec, LayerKind("full_attention", has))), Shape(2, 1, 1, 1, False))
        for has in (False, True)
    ]

    def flops(kernels):
        return sum(kernel.flops * count for kernel, count in kernels)

    dense, routed = (flops(one.kernels["layer", "forward"]) for one in alone)
    assert 8 * flops(mixed) == pytest.approx(2 * dense + 6 * routed)
    assert dense != routed
    # launched by a host: as long as so many of each kind take, which are launched one by one
    decode = replace(Workload(spec, 1, 1, dtype="bf16"), phase="decode", context=8)
    known, device, times = load_predictor("tilecast"), load_device("H100"), []
    for one in (
        decode,
        *(replace(decode, spec=of_kind(spec, LayerKind("full_attention", n))) for n in (False, True)),
    ):
        times.append(StepForecaster(one, load_system("dgx_h100"), device, known).step(Layout(tp=2)).parts["host"])
    mixed, dense, routed = times
    assert dense < routed
    assert mixed == pytest.approx((2 * dense + 6 * routed) / 8, rel=0.1)


def test_attention_sinks_and_experts_stored_the_other_way_are_cut() -> None:
    sizes = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 4}
    sizes |= {"intermediate_size": 384, "vocab_size": 512, "num_local_experts": 4, "num_experts_per_tok": 2}
    types = {"head_dim": 32, "sliding_window": 16, "layer_types": ["full_attention"] * 4}
    work = Workload(model_spec({"model_type": "gpt_oss", **sizes, **types}, "m", "m"), 1, 64, dtype="bf16")
    products = []
    for tp in (1, 2):
        parts = share(work, Shape(tp, 1, 1, 1, False)).kernels
        products.append(
            sum(
                count * kernel.b * kernel.m * kernel.n * kernel.k
                for (part, phase), kernels in parts.items()
                if part == "layer" and phase == "forward"
                for kernel, count in kernels
                if kernel.op in ("linear", "bmm")
            )
        )
    router = 64 * 256 * 4  # tokens x hidden x experts, whole on every rank
    assert 2 * (products[1] - router) == pytest.approx(products[0] - router, rel=1e-9)
