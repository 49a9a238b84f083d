"""One kernel asked about: products with and without narrowing, attention, norms; and what is refused."""

from __future__ import annotations

import pytest

import tilecast as tc
from tilecast.base.errors import InputError

SHAPES = ("4096x4096x4096", "64x8192x8192", "16384x4096x2048", "262144x256x1024")


@pytest.mark.parametrize("device", ["H100", "H200", "B200", "L40S"])
@pytest.mark.parametrize("tokens", [1, 64, 4096])
def test_narrow_experts_are_never_slower_than_in_bf16_though_measured_so(device: str, tokens: int) -> None:
    layer = f"{tokens}x4096x1536x128x8"
    wide, narrow = (tc.kernel(device, experts=layer, dtype=dtype) for dtype in ("bf16", "fp8"))
    assert narrow.latency_ms <= wide.latency_ms and narrow.values["low_ms"] <= narrow.latency_ms
    if device in ("H100", "H200") and tokens < 4096:  # measured at two to four times: inside the interval
        assert narrow.latency_ms == wide.latency_ms and narrow.values["high_ms"] > 2 * wide.latency_ms


@pytest.mark.parametrize("device", ["H100", "B200", "L40S", "RTX 4090"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_narrow_product_alone_is_never_slower_than_in_bf16(device: str, shape: str) -> None:
    wide = tc.kernel(device, shape)
    for dtype in ("fp8", "fp8_block"):
        alone, whole = (tc.kernel(device, shape, dtype=dtype, quantize=flag) for flag in (False, True))
        assert alone.latency_ms <= wide.latency_ms * (1 + 1e-12)
        assert alone.latency_ms < whole.latency_ms
        assert alone.values["other"]["latency_ms"] == whole.latency_ms
        low, high = alone.interval_ms or (0.0, 0.0)
        assert 0 < low <= alone.latency_ms <= high


def test_attention_grows_with_tokens_and_shrinks_with_a_window() -> None:
    short, long, near = (
        tc.kernel("H100", attention=f"32x{tokens}x128", kv_heads=8, window=window).latency_ms
        for tokens, window in ((2048, None), (8192, None), (8192, 1024))
    )
    assert short < near < long
    few, many = (tc.kernel("H100", attention="32x1x128", context=count).latency_ms for count in (1000, 64000))
    assert few < many
    grouped = tc.kernel("H100", attention="32x1x128", context=64000, kv_heads=4)
    assert grouped.latency_ms < many


def test_latents_are_read_once_for_all_heads() -> None:
    """A step's time is that of its cache, whatever the heads, until their products weigh."""

    def step(heads: int, context: int, dtype: str = "bf16") -> float:
        return tc.kernel(
            "H200", attention=f"{heads}x1x576", latent=512, context=context, batch=64, dtype=dtype
        ).latency_ms

    few, many, long = step(8, 32000), step(16, 32000), step(16, 64000)
    assert few == pytest.approx(many, rel=0.1)
    assert 1.8 < long / many < 2
    assert step(16, 64000, "fp8") < 0.7 * long
    written = [tc.kernel("H200", attention=f"{heads}x4096x192", latent=128).latency_ms for heads in (16, 32)]
    assert 1.7 < written[1] / written[0] < 2.1
    foreign = tc.kernel("A100", attention="16x1x576", latent=512, context=32000, batch=64)
    assert foreign.values["passport"] == "extrapolated"


def test_experts_read_weights_and_narrow_ones_are_faster() -> None:
    some = tc.kernel("B200", experts="64x7168x2048x256x8")
    assert some.values["bound"] == "bandwidth"
    assert tc.kernel("B200", experts="64x7168x2048x256x8", dtype="nvfp4").latency_ms < 0.5 * some.latency_ms
    assert tc.kernel("B200", experts="16384x7168x2048x256x8").values["bound"] == "compute"


def test_quantisation_streams_what_it_reads_and_writes() -> None:
    small, large, larger = (
        tc.kernel("B200", quantization=f"{rows}x7168", dtype="fp8").latency_ms for rows in (8, 131072, 262144)
    )
    assert small < 0.01 < large
    assert larger / large == pytest.approx(2, rel=0.05)


def test_norms_and_sums_are_the_predictors() -> None:
    for kind in ("norm", "elementwise"):
        small, large = (tc.kernel("V100", **{kind: f"{rows}x4096"}, dtype="fp32") for rows in (64, 65536))
        assert small.latency_ms < large.latency_ms
        assert large.values["bound"] == "bandwidth"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs one kernel"),
        ({"product": "2x2x2", "norm": "2x2"}, "needs one kernel"),
        ({"product": "2x2x2", "context": 5}, "--context: is of attention"),
        ({"product": "2x0x2"}, "is no product"),
        ({"norm": "2x2", "dtype": "fp8"}, "is measured nowhere"),
        ({"attention": "8x64x128", "context": 5}, "a decode step has 1"),
        ({"attention": "8x64x128", "kv_heads": 3}, "3 do not divide 8 heads"),
        ({"attention": "8x64x128", "dtype": "nvfp4"}, "attention in nvfp4: is not known"),
        ({"attention": "8x1x576", "context": 5, "latent": 600}, "values 600 wide of keys 576 wide"),
        ({"attention": "8x1x576", "context": 5, "latent": 512, "window": 4}, "--window: and --latent do not go"),
        ({"attention": "8x64x192", "latent": 128, "dtype": "fp8"}, "latent attention in fp8: is not known"),
        ({"product": "2x2x2", "latent": 1}, "--latent: is of attention"),
        ({"experts": "8x64x64x4x8"}, "8 chosen of 4 experts"),
        ({"experts": "8x64x64x4"}, "is no experts; give TOKENSxHIDDENxWIDTHxEXPERTSxCHOSEN"),
        ({"quantization": "8x64"}, "--quantization into bf16: is measured nowhere"),
        ({"quantization": "8x64", "dtype": "fp8", "device": "A100"}, "has no matrix units in fp8"),
        ({"product": "2x2x2", "quantize": True}, "--quantize: narrows nothing of product in bf16"),
        ({"product": "2x2x2", "dtype": "fp8", "device": "A100"}, "has no matrix units in fp8"),
    ],
)
def test_what_cannot_be_is_one_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tc.kernel(**{"device": "H100", **given})  # type: ignore[arg-type]
