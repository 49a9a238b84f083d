"""Physics of half-precision kernels on matrix units: products, attention, experts of a mixture.

base = launches + operations / sustained rate + bytes / bandwidth, bytes from the L2 cache where they fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tilecast.base.arrays import Array
from tilecast.predict.physics import expert_kernel
from tilecast.predict.physics.chip import FORMATS, Chip, Estimate, estimate, log2_within, tile_waste

ATTENTION_LAUNCHES, EXPERT_LAUNCHES = 4, 8  # an attention call writes the cache too; an expert layer sorts tokens
LOOP_CYCLES, LOOP_K = 5300, 2048  # filling the pipeline of a product, in cycles, at `k` of LOOP_K and more
STREAM_SHARE = 0.85  # of peak bandwidth, that long reads reach
# Operands that the benchmark left in the L2 cache come from there: all below the first share of the cache's size,
# none above the second. It repeats attention on the same tensors, a product on several copies of its weights.
WARM, WARM_ATTENTION, CACHED_BYTES_PER_CLOCK = (0.1, 0.35), (0.5, 1.0), 20
TILE_MS = 0.0035  # the shortest time a multiprocessor spends on one sequence and key head of a decoding step
EXPONENTIALS_PER_CLOCK = 16  # of a multiprocessor's special-function units
TILES = ((128, 128), (256, 128), (128, 256), (64, 64), (64, 128), (128, 64), (16, 64))


def _memory_ms(moved: Array, on: Chip, warm: tuple[float, float] = WARM) -> Array:
    """Milliseconds to move bytes, from L2 where they fit well."""
    cold = (log2_within(moved / on.l2_bytes, *warm) - np.log2(warm[0])) / np.log2(warm[1] / warm[0])
    stream = moved / (on.bandwidth_bytes_per_s * STREAM_SHARE)
    cached = moved / (on.sm_count * on.clock_hz * CACHED_BYTES_PER_CLOCK)
    return 1e3 * np.minimum(stream, cold * stream + (1 - cold) * cached)


def gemm(v: Mapping[str, Array], dtype: str, on: Chip) -> Estimate:
    """Products (m, k) x (k, n): 2 m n k operations; filling the pipeline along k takes LOOP_CYCLES besides."""
    m, n, k, stored = v["m"], v["n"], v["k"], FORMATS[dtype]
    flops = 2 * m * n * k
    moved = stored.input_bytes * m * k + stored.weight_bytes * n * k + 2 * m * n
    compute, memory = 1e3 * flops / on.sustained_flops_per_s, _memory_ms(moved, on)
    fixed = on.launch_ms + 1e3 * LOOP_CYCLES / on.clock_hz * np.minimum(1, k / LOOP_K)
    columns = [
        *tile_waste(m, n, TILES, on),
        *(np.log2(v[name]) for name in "mnk"),
        log2_within(m * n / (on.sm_count * 16384), 1e-3, 600),
        log2_within(memory / compute, 1e-3, 1e3),
        log2_within(moved / on.l2_bytes, 1e-3, 1e3),
        log2_within((compute + memory) / fixed, 1e-2, 1e3),
        log2_within(2 * m * n / moved, 1e-3, 1),
    ]
    return estimate(columns, fixed, compute, memory, flops, moved, on)


def seen_keys(tokens: Array, context: Array, window: Array) -> Array:
    """Pairs of query and key in causal attention: of the last `tokens` of `context`, within a window if any."""
    span = np.where(window > 0, np.minimum(window, context), context)
    short = np.clip(span - (context - tokens), 0, tokens)  # queries that see fewer keys than the window holds
    return tokens * span - short * (short - 1) / 2


def attention(v: Mapping[str, Array], dtype: str, on: Chip, decode: bool) -> Estimate:
    """Causal attention of `tokens` queries (one, in decoding) over `context` keys, heads grouped.

    4 d operations and one exponential for each pair of query and key (FlashAttention, arXiv 2205.14135); half of
    the exponentials are hidden behind products.
    """
    b, h, kv, d, window = (v[name] for name in ("batch", "heads", "kv_heads", "head_dim", "window"))
    context = v["context"] if decode else v["tokens"]
    tokens = np.ones_like(context) if decode else v["tokens"]
    size = FORMATS[dtype].weight_bytes
    pairs = b * h * seen_keys(tokens, context, window)
    flops = 4 * pairs * d
    keys = np.where(decode & (window > 0), np.minimum(window, context), context)
    moved = 2 * b * kv * keys * d * size + 2 * b * tokens * d * (2 * h + (0 if decode else 2 * kv))
    exponentials = 1e3 * pairs / (on.sm_count * on.clock_hz * EXPONENTIALS_PER_CLOCK)
    matrix = 1e3 * flops / on.sustained_flops_per_s
    compute = matrix + (0.0 if decode else 0.5) * exponentials
    memory = _memory_ms(moved, on, WARM_ATTENTION)
    fixed = np.full(len(b), ATTENTION_LAUNCHES * on.launch_ms)
    groups = b * (kv if decode else h)
    if decode:
        memory = np.maximum(memory, TILE_MS * groups / on.sm_count)
        each, splits = groups / on.sm_count, np.ceil(keys / 256)
        columns = [log2_within(each, 1e-3, 1e3), log2_within(groups * splits / on.sm_count, 1e-3, 1e5)]
    else:
        columns = tile_waste(tokens, d, ((64, 1), (128, 1)), on, groups / d)
    columns += [
        *map(np.log2, (b, context, h / kv, kv, d)),
        np.where(window > 0, 1.0, 0.0),  # some libraries read grouped keys once a head where a window is set
        log2_within(np.where(window > 0, window, context) / context, 1e-3, 1),
        log2_within(memory / compute, 1e-3, 1e3),
        log2_within(moved / on.l2_bytes, 1e-3, 1e3),
        log2_within((compute + memory) / fixed, 1e-2, 1e4),
        log2_within(exponentials / matrix, 1e-2, 1e2),
        log2_within(2 * b * h * d * tokens / (on.sm_count * 16384), 1e-3, 1e3),
    ]
    return estimate(columns, fixed, compute, memory, flops, moved, on)


def moe(v: Mapping[str, Array], dtype: str, on: Chip) -> Estimate:
    """The experts of one GPU of a mixture: three products of hidden x inter each, tokens sorted by expert."""
    loads = expert_kernel.by_layer(v, expert_kernel.expected_load)
    rows, active = np.maximum(loads[:, 0], 1e-3), np.maximum(loads[:, 1], 1e-3)
    hidden, inter, stored = v["hidden"], v["inter"] / v["tp"], FORMATS[dtype]
    flops = 6 * rows * hidden * inter
    moved = 3 * active * hidden * inter * stored.weight_bytes
    moved = moved + rows * (2 * hidden * stored.input_bytes + 6 * inter) + 4 * v["tokens"] * hidden
    compute, memory = 1e3 * flops / on.sustained_flops_per_s, _memory_ms(moved, on)
    fixed = np.full(len(rows), EXPERT_LAUNCHES * on.launch_ms)
    each = np.maximum(rows / active, 1.0)
    columns = tile_waste(each, 2 * inter, ((128, 128), (64, 128), (16, 64)), on, active)
    columns += tile_waste(each, hidden, ((128, 128), (16, 64)), on, active)
    columns += [
        *map(np.log2, (v["tokens"], rows, each, active, v["experts"] / v["ep"], hidden, inter, v["topk"])),
        v["skew"],
        log2_within(memory / compute, 1e-3, 1e3),
        log2_within(moved / on.l2_bytes, 1e-3, 1e3),
        log2_within((compute + memory) / fixed, 1e-2, 1e4),
    ]
    return estimate(columns, fixed, compute, memory, flops, moved, on)


def triton(v: Mapping[str, Array], dtype: str, on: Chip) -> tuple[Estimate, expert_kernel.Launch]:
    """Experts by Triton's kernel: an estimate without fitted rates, and the work whose time follows from rates."""
    stored = FORMATS[dtype]
    work = expert_kernel.launch(v, dtype, stored.weight_bytes, stored.input_bytes, on.name)
    moved = work.weights + work.activations
    compute = 1e3 * work.wanted_flops / on.sustained_flops_per_s
    memory = 1e3 * moved / (on.bandwidth_bytes_per_s * STREAM_SHARE)
    fixed = np.full(len(compute), EXPERT_LAUNCHES * on.launch_ms)
    return estimate([fixed], fixed, compute, memory, work.wanted_flops, moved, on), work


def physics(family: str, dims: Mapping[str, Array], dtype: str, on: Chip) -> Estimate:
    """What physics say of kernels of one family and number format on one GPU."""
    if family == "gemm":
        return gemm(dims, dtype, on)
    if family == "moe":
        return moe(dims, dtype, on)
    if family == expert_kernel.FAMILY:
        return triton(dims, dtype, on)[0]
    return attention(dims, dtype, on, decode=family == "decode")
