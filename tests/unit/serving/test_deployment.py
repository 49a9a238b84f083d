"""What clients of a deployment see: by command the same as in the evaluation, and within physics."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.base.paths import SERVING_INTERVALS as SHIPPED
from tilecast.cli import main
from tilecast.evaluate.serving_intervals import serving_intervals
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.architecture import Architecture, equal_layers
from tilecast.models.registry import load_model, model_spec
from tilecast.multigpu.memory import parameters
from tilecast.predict.half_precision import shipped
from tilecast.serving.answer import figures
from tilecast.serving.campaigns import formats_of, recipe
from tilecast.serving.deployment import Deployment, Desk, Draft, Pool, check, served, sweep
from tilecast.serving.engines import engine
from tilecast.serving.load import Lengths, Load
from tilecast.serving.passes import BF16, Formats, Work, layer_kernels
from tilecast.tables.declared.half_precision import SERVING_INTERVALS
from tilecast.tables.io import read

MODEL = equal_layers(load_model("llama3_8b"))
ONE = Deployment(MODEL, load_device("H100"), load_system("dgx_h100"), engine("vllm").batching)
LOAD = Load(Lengths(1024), Lengths(64), 8)


def mean(deployment: Deployment = ONE, load: Load = LOAD) -> tuple[float, float]:
    found = served(deployment, load, shipped())
    return found.mean(found.ttft_ms), found.mean(found.tpot_ms)


def told(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["serve", *options, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["answer"]
    return found


def test_the_command_answers_what_the_evaluation_holds_against_measurements(
    capsys: pytest.CaptureFixture[str],
) -> None:
    point = {"sweep": True, "framework": "vllm", "model": "m", "device": "NVIDIA_H100_80GB_HBM3", "tp": 2}
    load, batching = recipe(point | {"prompt": 1000, "output": 50, "concurrency": 16.0})
    evaluated = mean(replace(ONE, batching=batching, pool=Pool(2)), load)
    options = ["--model", "llama3_8b", "--system", "dgx_h100", "--tp", "2", "--concurrency", "16"]
    row = told(capsys, *options, "--input", "800-1000", "--output", "40-50")["loads"][0]
    assert [row[name]["mean"] for name in ("ttft_ms", "tpot_ms")] == pytest.approx(list(evaluated), rel=1e-9)


def test_every_weight_is_held_once() -> None:
    for name in ("llama3_8b", "mixtral_8x7b"):
        model = equal_layers(load_model(name))
        one = replace(ONE, model=model)
        assert one.weight_bytes(Pool()) == pytest.approx(2 * parameters(model), rel=1e-3)
        assert 4 * one.weight_bytes(Pool(tp=4)) == pytest.approx(2 * parameters(model), rel=2e-2)
        narrow = replace(one, formats=Formats("fp8", "fp8", "bf16"))
        ends = 2 * 2 * model.vocab * model.hidden
        assert narrow.weight_bytes(Pool()) == pytest.approx(parameters(model) + ends / 2, rel=1e-2)


def test_feed_forward_products_are_those_of_layers_without_experts_and_of_shared_ones() -> None:
    """Of 48 layers 45 have experts of width 768; then each token also passes a shared one of 512, else 6,144."""
    plain = equal_layers(load_model("qwen3_30b_a3b"))
    mixed = replace(plain, expert_layers=45, shared_ffn=512, dense_ffn=6144)

    def inner(shape: Architecture) -> list[tuple[float, float]]:
        kernels = layer_kernels(shape, BF16, Work(decode=True, sequences=4, tokens=4, context=100), tp=2, ep=1)
        products = [(dims, count) for family, _, dims, count in kernels if family == "gemm"]
        return [(width, count) for (_, out, width), count in products[3:] if out == shape.hidden]

    assert inner(plain) == []
    assert inner(mixed) == [(512 / 2, 45), (6144 / 2, 3)]
    assert inner(replace(plain, experts=0, expert_layers=0)) == [(768 / 2, 48)]


def test_caches_are_of_key_value_heads_and_windows_bound_them() -> None:
    assert float(ONE.cache_bytes(1000, Pool())) == 2 * 32 * 8 * 128 * 2 * 1000
    assert float(ONE.cache_bytes(1000, Pool(tp=8))) == 2 * 32 * 1 * 128 * 2 * 1000
    assert float(ONE.cache_bytes(1000, Pool(tp=16))) == float(ONE.cache_bytes(1000, Pool(tp=8)))  # copied
    windowed = replace(ONE, model=replace(MODEL, window=100))
    assert float(windowed.cache_bytes(1000, Pool())) == pytest.approx(0.55 * float(ONE.cache_bytes(1000, Pool())))
    narrow = replace(ONE, formats=Formats("bf16", "bf16", "fp8"))
    assert 2 * float(narrow.cache_bytes(1000, Pool())) == float(ONE.cache_bytes(1000, Pool()))


def deepseek() -> Architecture:
    sizes = {
        "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
        "v_head_dim": 128, "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, 
        "num_hidden_layers": 61,
        "num_attention_heads": 128, "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256,
        "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 129280, "tie_word_embeddings": False,
    }  # fmt: skip
    return equal_layers(model_spec({"model_type": "deepseek_v3", **sizes}, "deepseek_v3", "x"))


def test_latent_attention_decodes_absorbed_on_a_cache_that_every_rank_holds() -> None:
    """A row of 576 a token and layer; 128 heads over 8 ranks; a prompt's keys and values are written out."""
    model, rows = deepseek(), {}
    for decode in (True, False):
        work = Work(decode, 4, 4 if decode else 400, 100 if decode else 0)
        rows[decode] = layer_kernels(model, BF16, work, tp=8, ep=1)
    products = {dims[1:] for family, _, dims, _ in rows[True] if family == "gemm"}
    assert {(1536 + 576, 7168), (16 * 192, 1536), (512, 16 * 128), (16 * 128, 512), (7168, 16 * 128)} <= products
    assert [row for row in rows[True] if "decode" in row[0]] == [
        ("latent_decode", "bf16", (4, 100, 16, 576, 512), 61)
    ]
    assert ("gemm", "bf16", (400, 16 * 256, 512), 61) in rows[False]
    assert ("latent_prefill", "bf16", (4, 100, 16, 192, 128), 61) in rows[False]
    server = replace(ONE, model=model)
    for tp in (1, 8):
        assert float(server.cache_bytes(10, Pool(tp))) == 2 * 10 * 61 * 576
    assert float(replace(server, formats=Formats("bf16", "bf16", "fp8")).cache_bytes(10, Pool())) == 10 * 61 * 576
    check(replace(server, pool=Pool(8)), shipped())


def test_a_longer_cache_of_latents_takes_longer_and_an_fp8_one_less() -> None:
    many = replace(ONE, model=deepseek(), device=load_device("B200"), system=load_system("b200_sxm"), pool=Pool(8))
    many = replace(many, formats=Formats("fp8", "fp8_block", "bf16"))
    loads = [Load(Lengths(tokens), Lengths(64), 64) for tokens in (1024, 16384)]
    short, long = (mean(many, load)[1] for load in loads)
    assert short < long
    assert mean(replace(many, formats=Formats("fp8", "fp8_block", "fp8")), loads[1])[1] < long


def test_layers_without_attention_are_refused_by_name() -> None:
    hybrid = replace(MODEL, attending=0.25, name="m")
    with pytest.raises(InputError, match="m: has layers without attention, which no served pass has here"):
        check(replace(ONE, model=hybrid), shipped())


def test_more_clients_wait_longer_and_get_more_tokens_in_all() -> None:
    found = [served(ONE, one, shipped()) for one in sweep(ONE, LOAD)]
    tpot = [one.mean(one.tpot_ms) for one in found]
    rate = [one.tokens_per_s for one in found]
    assert len(found) >= 8 and tpot == sorted(tpot) and rate == sorted(rate)


def test_percentiles_are_in_order_and_hold_the_mean_between_them() -> None:
    found = served(ONE, replace(LOAD, output=Lengths(64, 0.3)), shipped())
    for values in (found.ttft_ms, found.tpot_ms, found.end_to_end_ms):
        shares = [found.percentile(values, share) for share in (0.01, 0.5, 0.9, 0.99, 1.0)]
        assert shares == sorted(shares) and shares[0] <= found.mean(values) <= shares[-1] == values.max()


def test_what_is_cached_is_not_computed_and_half_a_cache_is_between() -> None:
    times = [mean(load=replace(LOAD, cached=share))[0] for share in (0.0, 0.5, 0.9)]
    assert times[0] > times[1] > times[2] > 0


def test_drafts_that_are_accepted_save_passes_and_others_cost_them() -> None:
    assert Draft(3, 0.0).per_pass == 1 and Draft(3, 1.0).per_pass == 4
    assert Draft(2, 0.5).per_pass == pytest.approx(1.75)
    plain, none, every = (mean(replace(ONE, draft=draft))[1] for draft in (None, Draft(3, 0.0), Draft(3, 1.0)))
    assert every < plain / 2 and none > plain
    drafted = replace(ONE, draft=Draft(3, 1.0, MODEL))
    assert mean(drafted)[1] > every  # a model that drafts costs its passes


def test_servers_that_only_prefill_leave_decoding_undisturbed() -> None:
    load = Load(Lengths(2000), Lengths(64), rate_per_s=6)
    together = replace(ONE, pool=Pool(2, replicas=2))
    apart = replace(ONE, pool=Pool(2), decoders=Pool(2))
    found = [served(one, load, shipped()) for one in (together, apart)]
    spread = [one.percentile(one.tpot_ms, 0.99) / one.percentile(one.tpot_ms, 0.5) for one in found]
    assert spread[1] < spread[0] and together.gpus == apart.gpus == 4


def test_replicas_and_stages_share_the_requests() -> None:
    one = served(ONE, LOAD, shipped())
    two = served(replace(ONE, pool=Pool(replicas=2)), replace(LOAD, concurrency=16), shipped())
    assert (one.times.last == two.times.last).all()


def test_too_many_requests_a_second_are_called_an_overload() -> None:
    calm, full = (served(ONE, Load(Lengths(1024), Lengths(64), rate_per_s=rate), shipped()) for rate in (2, 500))
    assert full.overloaded and not calm.overloaded
    assert calm.tokens_per_s == pytest.approx(128, rel=0.1) and full.tokens_per_s < 32_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": load_device("A100-SXM"), "formats": Formats("fp8", "fp8", "bf16")}, "has no rate of fp8"),
        ({"device": load_device("V100")}, "has no rate of bf16"),
        ({"formats": Formats("mxfp4", "bf16", "bf16")}, "was measured on no GPU"),
        ({"pool": Pool(tp=7)}, "does not divide"),
        ({"pool": Pool(ep=2)}, "needs experts"),
        ({"pool": Pool(tp=8, replicas=100_000)}, "fewer than"),
        ({"pool": Pool(tp=2), "system": None}, "need a system"),
    ],
)
def test_what_cannot_be_forecast_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(replace(ONE, **change), shipped())
    check(replace(ONE, model=equal_layers(load_model("mixtral_8x7b")), pool=Pool(tp=4, ep=4)), shipped())


def test_shipped_intervals_hold_and_bound_the_mean() -> None:
    table = read(SHIPPED, SERVING_INTERVALS)
    assert table["held_percent"].between(76, 84).all() and (table["low_ratio"] < table["high_ratio"]).all()
    row = figures(ONE, served(ONE, LOAD, shipped()), load_prices())
    for name in ("ttft_ms", "tpot_ms", "end_to_end_ms", "output_tokens_per_s"):
        assert row[name]["low"] < row[name]["mean"] < row[name]["high"]


def test_intervals_are_as_wide_as_groups_differ() -> None:
    random = np.random.default_rng(0)
    rows = []
    for group, shift in enumerate((-0.4, -0.2, 0.0, 0.1, 0.3, 0.5)):
        for error in random.normal(shift, 0.02, 50):
            rows.append({"kind": "dense", "left_out": True, "model": "m", "device": str(group), "ttft_ms": 1.0})
            rows[-1] |= {"tpot_ms": 1.0, "measured_ttft_ms": np.exp(error), "measured_tpot_ms": np.exp(error / 9)}
    found = serving_intervals(pd.DataFrame(rows)).set_index("what")
    assert found.loc["ttft", "groups"] == 6 and found.loc["ttft", "held_percent"] >= 60
    assert found.loc["ttft", "low_ratio"] < np.exp(-0.3) and found.loc["ttft", "high_ratio"] > np.exp(0.4)
    assert found.loc["tpot", "high_ratio"] < 1.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "tgi"], "is not known"),
        (["--rate", "1", "--concurrency", "2"], "are two loads"),
        (["--acceptance", "1.5", "--draft-tokens", "2"], "is no chance"),
        (["--acceptance", "0.5"], "go together"),
        (["--input", "900-100"], "is no range"),
        (["--output", "1"], "is too small"),
        (["--cached", "1"], "is no share"),
        (["--dtype", "fp8", "--device", "A100-SXM"], "has no rate of fp8"),
        (["--decoders", "x", "--rate", "1", "--system", "dgx_h100"], "is no pool"),
        (["--decoders", "1", "--rate", "1"], "are other GPUs"),
    ],
)
def test_bad_options_are_one_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["serve", "--model", "llama3_8b", *([] if "--device" in options else ["--device", "H100"]), *options]
    assert main(given) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "a,b,c\n1,2,3", "seconds,prompt,output\n-1,5,5", "seconds,prompt,output\n2,5,5\n1,5,5"]
)
def test_a_bad_trace_is_refused(text: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    assert main(["serve", "--model", "llama3_8b", "--device", "H100", "--trace", str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def test_a_trace_is_replayed_as_it_came(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("seconds,prompt,output\n" + "".join(f"{n},500,20\n" for n in range(30)))
    row = told(capsys, "--model", "llama3_8b", "--device", "H100", "--trace", str(path))["loads"][0]
    assert row["requests_per_s"] == pytest.approx(30 / 29, rel=0.1)  # one a second, answered before the next
    assert row["ttft_ms"]["p99"] == pytest.approx(row["ttft_ms"]["p50"])


def test_a_model_that_does_not_fit_says_so_and_forecast_serves_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "--serve", "--model", "llama2_70b", "--device", "H100"]) == 3
    assert "does not fit" in capsys.readouterr().out
    options = ["--model", "llama3_8b", "--device", "H100", "--tpot-ms"]
    assert main(["serve", *options, "0.001"]) == 3
    assert main(["serve", *options, "30"]) == 0
    assert "most tokens per second, TPOT within 30 ms" in capsys.readouterr().out


@pytest.mark.parametrize(("budget", "prompts"), [(100, 1), (1023, 1), (2048, 2), (5000, 4), (1e6, 8)])
def test_as_many_prompts_share_a_pass_as_the_budget_holds(budget: float, prompts: int) -> None:
    """Prompts of 1,024 tokens from eight clients: at least one, at most all of them."""
    desk = Desk(shipped(), load_device("H100"), load_system("dgx_h100"))
    desk.ask(replace(ONE, batching=replace(ONE.batching, budget=budget)), LOAD)
    assert desk.asked[0].prompts == prompts


@pytest.mark.parametrize(
    ("model", "gemm", "experts", "formats"),
    [
        ("llama", "bf16", "bf16", Formats("bf16", "bf16", "bf16")),
        ("llama", float("nan"), float("nan"), Formats("bf16", "bf16", "bf16")),
        ("llama", "fp8", "nvfp4", Formats("fp8", "nvfp4", "fp8")),
        ("llama", "fp8_block", "bf16", Formats("fp8_block", "bf16", "fp8")),
        ("openai/gpt-oss-120b", "fp8", "fp8", Formats("bf16", "mxfp4", "bf16")),
    ],
)
def test_number_formats_of_a_measured_point(model: str, gemm: object, experts: object, formats: Formats) -> None:
    assert formats_of({"model": model, "gemm_dtype": gemm, "moe_dtype": experts}) == formats


def test_what_no_measured_point_had_gets_no_interval_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "llama3_8b", "--system", "dgx_h100"]
    for more, words in (
        (["--rate", "1"], "requests that come by themselves"),
        (["--concurrency", "4", "--pp", "2"], "pipeline stages"),
        (["--concurrency", "4", "--cached", "0.5"], "a prefix cache"),
        (["--concurrency", "4", "--draft-tokens", "2", "--acceptance", "0.5"], "drafts"),
    ):
        row = told(capsys, *options, *more)["loads"][0]
        assert row["unmeasured"] == [words] and "low" not in row["ttft_ms"]
        assert main(["serve", *options, *more]) == 0
        assert f"held against no measurement with {words}" in capsys.readouterr().out


def test_clients_divide_over_servers_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "llama3_8b", "--system", "dgx_h100", "--dp", "2"]
    assert main(["serve", *options, "--concurrency", "3"]) == 1
    assert "do not divide over 2 servers" in capsys.readouterr().err
    one = told(capsys, *options[:4], "--concurrency", "2")["loads"][0]["output_tokens_per_s"]["mean"]
    assert told(capsys, *options, "--concurrency", "4")["loads"][0]["output_tokens_per_s"]["mean"] == 2 * one


def test_a_model_that_drafts_takes_memory_and_has_to_be_cut() -> None:
    drafted = replace(ONE, draft=Draft(2, 0.5, MODEL))
    assert drafted.weight_bytes(Pool()) == 2 * ONE.weight_bytes(Pool())
    assert drafted.cache_bytes(100, Pool()) == 2 * ONE.cache_bytes(100, Pool())
    with pytest.raises(InputError, match="does not divide"):
        check(
            replace(drafted, pool=Pool(8), draft=Draft(2, 0.5, replace(MODEL, heads=12, kv_heads=12))), shipped()
        )


def test_a_models_own_layer_drafts_where_it_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    deepseek = equal_layers(load_model("deepseek_v3"))
    one = replace(ONE, model=deepseek, device=load_device("H200"), system=load_system("h200_sxm"), pool=Pool(8))
    drafting = replace(one, model=deepseek.predictor)
    ends = 2 * deepseek.vocab * deepseek.hidden  # the published size counts copies of them
    assert round((drafting.weight_bytes(Pool()) / 2 + ends) / 1e9) in (
        13,
        14,
    )  # published: 685 of which 671 billion
    kernels = [layer_kernels(model, BF16, Work(True, 8, 8, 900), 8, 1) for model in (deepseek, deepseek.predictor)]
    joining = ("gemm", "bf16", (8, deepseek.hidden, 2 * deepseek.hidden), 1)
    assert joining in kernels[1] and joining not in kernels[0]
    assert {kernel[0] for kernel in kernels[1]} == {"gemm", "moe", "latent_decode"}
    options = [
        "--model",
        "deepseek_v3",
        "--system",
        "h200_sxm",
        "--tp",
        "8",
        "--dtype",
        "fp8",
        "--concurrency",
        "4",
    ]
    plain, sure, poor = (
        told(capsys, *options, *more)["loads"][0]["tpot_ms"]["mean"]
        for more in (
            [],
            *(["--draft-tokens", "1", "--acceptance", share, "--draft-model", "own"] for share in ("1", "0.01")),
        )
    )
    assert plain / 2 < sure < plain < poor < 2 * plain
    assert main(["serve", *options[2:], "--model", "llama3_8b", "--draft-tokens", "1", "--acceptance", "1",
                 "--draft-model", "own"]) == 1  # fmt: skip
    assert "has no layer that predicts further tokens" in capsys.readouterr().err
