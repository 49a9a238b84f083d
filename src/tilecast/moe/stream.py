"""Which experts tokens use, step after step: a made stream with skew and locality, or a user's trace file."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tilecast.base.errors import InputError
from tilecast.tables.declared.moe import TRACE
from tilecast.tables.io import read

Stream = NDArray[np.int64]  # [step, layer, sequence, place among the token's experts]


def synthetic(
    experts: int,
    top_k: int,
    *,
    layers: int,
    sequences: int,
    steps: int,
    exponent: float = 0.0,
    reuse: float = 0.0,
    seed: int = 0,
) -> Stream:
    """A stream in which expert i of a layer is drawn in proportion to 1 / i^`exponent`, in an order of its own.

    Each expert of a sequence's last token is used by its next with the chance `reuse`, whatever its popularity.
    """
    random = np.random.default_rng(seed)
    popular = -exponent * np.log(np.arange(1, experts + 1))
    weights = np.stack([popular[random.permutation(experts)] for _ in range(layers)])[:, None]
    found = np.zeros((steps, layers, sequences, top_k), dtype=np.int64)
    for step in range(steps):
        # The largest of log weight + Gumbel noise are a draw without replacement.
        scores = weights + random.gumbel(size=(layers, sequences, experts))
        if step and reuse:
            kept = found[step - 1]
            bonus = np.where(random.random(kept.shape) < reuse, 1e6, 0.0)
            np.put_along_axis(scores, kept, np.take_along_axis(scores, kept, -1) + bonus, -1)
        found[step] = np.argpartition(-scores, top_k - 1, axis=-1)[..., :top_k]
    return found


def from_file(path: str | Path, experts: int, top_k: int, sequences: int) -> Stream:
    """The stream of a trace file: a row for each sequence, step, layer and expert, all counted from 0."""
    table = read(path, TRACE)
    sizes = [int(table[name].max()) + 1 if len(table) else 0 for name in ("step", "layer", "sequence")]
    if table["expert"].max() >= experts:
        raise InputError(
            path, f"expert {table['expert'].max()}", f"the model has {experts} experts a layer, from 0"
        )
    if len(table) != prod(sizes) * top_k or table.duplicated().any():
        remedy = f"give each sequence {top_k} different experts in every step and layer"
        raise InputError(
            path, f"{len(table)} rows for {sizes[2]} sequences, {sizes[0]} steps, {sizes[1]} layers", remedy
        )
    if sizes[2] < sequences:
        raise InputError(path, f"has {sizes[2]} sequences", f"{sequences} are decoded together; lower the batch")
    found = table.sort_values(["step", "layer", "sequence", "expert"])["expert"].to_numpy()
    if (table.groupby(["step", "layer", "sequence"]).size() != top_k).any():
        raise InputError(path, "a token has more or fewer experts than others", f"give {top_k} of each")
    return np.asarray(found, dtype=np.int64).reshape(*sizes, top_k)[:, :, :sequences]


def imbalance(stream: Stream, ranks: int, experts: int, capacity: float | None = None) -> tuple[float, float]:
    """Assignments of a layer's busiest rank over the mean, and the share dropped beyond the experts' `capacity`.

    Expert e lies on rank e modulo `ranks`.
    """
    steps, layers, sequences, top_k = stream.shape
    flat = stream.reshape(steps * layers, -1)
    loads = np.stack([np.bincount(row, minlength=experts) for row in flat]).astype(float)
    if capacity is not None:
        loads = np.minimum(loads, np.ceil(capacity * sequences * top_k / experts))
    kept = loads.sum(axis=1)
    busiest = np.stack([loads[:, rank::ranks].sum(axis=1) for rank in range(ranks)]).max(axis=0)
    return float((busiest * ranks / kept).mean()), float(1 - kept.mean() / (sequences * top_k))


def distinct(stream: Stream, ranks: int, experts: int) -> float:
    """Mean number of different experts that one rank computes in a layer of a step."""
    used = np.sort(stream.reshape(stream.shape[0] * stream.shape[1], -1), axis=1)
    return float((1 + np.count_nonzero(np.diff(used), axis=1)).mean() / ranks)


def ranks_touched(ranks: int, top_k: int, experts: int) -> float:
    """Expected ranks among which one token's `top_k` different experts lie, each rank holding the same number."""
    held = experts // ranks
    missed = 1.0  # chance that none of the token's experts lies on one given rank
    for place in range(top_k):
        missed *= max(experts - held - place, 0) / (experts - place)
    return ranks * (1 - missed)
