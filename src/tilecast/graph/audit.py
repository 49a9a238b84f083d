"""The artifact's operator graphs compared with our own traces of the same models, with reasons for differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tilecast.graph.fuse import fuse
from tilecast.graph.source import kernel_graph
from tilecast.models.choices import Cell
from tilecast.models.registry import load_model
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

CELL = ["model", "mode", "sequence_length", "batch_size", "option"]
COLUMNS = ["phase", "what", "ours", "artifact", "reason"]
CLASSES = ("elementwise", "softmax", "norm")
TOLERANCE = 0.02  # of a phase's elements, above which a difference needs a reason
_ONE_LAYER = ("gpt2", "bert", "opt")  # types whose graph in the artifact is of one layer, unless it is fused
_MOVES = ("dropout", "cast", "embedding", "fill")  # parts of a chain that the artifact does not write down
Counted = Counter[tuple[str, Any]]  # (phase, what) -> how many, or how large


class Product(NamedTuple):
    """A matrix product (b, m, k) x (b, k, n)."""

    b: int
    m: int
    n: int
    k: int


def differences(graphs: pd.DataFrame, lists: Mapping[str, Path]) -> pd.DataFrame:
    """What differs in each one-GPU cell of the artifact's `graphs` table; one row where nothing does.

    `lists` are kernel lists of whole models traced before, by `<model>-<mode>-<sequence>-<batch>`.
    """
    found = []
    for cell, rows in graphs[graphs["option"].isin(["none", "fusion"])].groupby(CELL):
        model, mode, length, batch, option = (str(part) for part in cell)
        spec, sizes = load_model(model), (int(length), int(batch))
        one_layer = option == "none" and spec.values["model_type"] in _ONE_LAYER
        traced = lists.get(str(Cell(model, mode, *sizes)))
        if option == "none" and not one_layer and traced is not None:
            kernels = read(traced, KERNEL_LIST)
        else:
            shown = spec.shortened(1) if one_layer else spec
            graph = kernel_graph(shown, mode=mode, sequence_length=sizes[0], batch_size=sizes[1])
            kernels = (fuse(graph) if option == "fusion" else graph).kernels()
        table = compare(kernels, rows)
        if table.empty:
            table = pd.DataFrame([("", "nothing differs", 0, 0, "equal")], columns=COLUMNS)
        found.append(pd.DataFrame([(model, mode, *sizes, option)], columns=CELL).merge(table, how="cross"))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*CELL, *COLUMNS])


def compare(kernels: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """What differs between our table and the artifact's rows of one cell; `reason` is empty where none is known.

    Every matrix product whose count differs; every operation whose elements differ by more than 2 % of all of its
    phase. Of a fused cell: every chain whose count differs instead.
    """
    found: list[tuple[str, str, int, int, str]] = []
    fused = bool((rows["option"] == "fusion").any())
    (ours, left), (theirs, right) = _ours(kernels, fused), _theirs(rows, fused)
    differing = sorted(key for key in {*ours, *theirs} if ours[key] != theirs[key])
    for phase, product in differing:
        more = ours[phase, product] > theirs[phase, product]
        partners = [key[1] for key in differing if key[0] == phase and (ours[key] > theirs[key]) != more]
        what, reason = "product " + "x".join(map(str, product)), _product_reason(product, partners)
        found.append((phase, what, ours[phase, product], theirs[phase, product], reason))
    whole: Counter[str] = Counter()
    for (phase, _), number in right.items():
        whole[phase] += number
    for phase, name in sorted({*left, *right}):
        a, b = left[phase, name], right[phase, name]
        if abs(a - b) > (0 if fused else TOLERANCE * whole[phase]):
            reason = next((why for where, names, why in _REASONS if where == phase and name in names), "")
            found.append((phase, f"{'chain' if fused else 'elements of'} {name}", a, b, reason))
    return pd.DataFrame(found, columns=COLUMNS)


def _counted(found: Iterable[tuple[str, Any, int]]) -> Counted:
    counts: Counted = Counter()
    for phase, what, number in found:
        counts[phase, what] += number
    return counts


def _ours(kernels: pd.DataFrame, fused: bool) -> tuple[Counted, Counted]:
    """Matrix products, and elements by operation, of a `kernel_list` table; of a fused one, chains."""
    rows = kernels.to_dict("records")
    products = _counted(
        (row["phase"], Product(row["b"], row["m"], row["n"], row["k"]), row["count"])
        for row in rows
        if row["family"] in ("linear", "bmm")
    )
    vectors = [row for row in rows if row["family"] in CLASSES]
    if not fused:
        elements = ((row["phase"], row["op"], row["b"] * row["m"] * row["count"]) for row in vectors)
        return products, _counted(elements)
    chains = (sorted(op for op in row["op"].split("+") if op not in _MOVES) for row in vectors)
    return products, _counted((row["phase"], "+".join(ops), row["count"]) for row, ops in zip(vectors, chains))


def _theirs(rows: pd.DataFrame, fused: bool) -> tuple[Counted, Counted]:
    """The same of the `graphs` table, which writes Linear (m, k, n), BMM (b, m, k, n) and vectors (b, m)."""
    matrix = rows[rows["kernel"].isin(["Linear", "BMM"])]
    sizes = ([1, *map(int, str(dims).split(","))][-4:] for dims in matrix["dims"])
    products = _counted(
        (str(phase), Product(b, m, n, k), 1) for phase, (b, m, k, n) in zip(matrix["phase"], sizes)
    )
    vectors = rows[rows["kernel"].str.startswith("VEC")]
    vectors = vectors.assign(op=vectors["kernel"].str.removeprefix("VEC"))
    if not fused:
        elements = (math.prod(map(int, str(dims).split(","))) for dims in vectors["dims"])
        return products, _counted(zip(vectors["phase"].astype(str), vectors["op"].astype(str), elements))
    nodes = vectors.groupby(["phase", "position"])
    return products, _counted((str(phase), "+".join(sorted(node["op"])), 1) for (phase, _), node in nodes)


def _product_reason(product: Product, partners: list[Product]) -> str:
    """Why a product is on one side only, found from similar products on the other side."""
    if product._replace(m=product.n, n=product.m) in partners:
        return "weight gradient: transposed, as the model stores its weights inputs x outputs; same work"
    work = math.prod(product)
    if any(math.prod(partner) == work and (partner.b == 1) != (product.b == 1) for partner in partners):
        return "the artifact takes some layers' attention products for Linear, batch folded into rows; same work"
    return ""


_MASK = "building masks and position buckets: the artifact's parser leaves comparisons and selections out"
_SCALE = "attention scores: multiplied by a constant (also by 1) today, divided then; an empty mask is scaled then"
_CHAIN = (
    "scale, mask and softmax are one chain today; the selection of the mask, left out by the parser, cut it then"
)

# phase, operations or chains, why their numbers differ
_REASONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("forward", ("le", "where", "eq", "ne", "bitwise_and", "gt", "lt", "abs", "log", "minimum", "neg"), _MASK),
    ("forward", ("bitwise_and+bitwise_and+eq+le+where", "ne+sub", "sub", "addu", "subu"), _MASK),
    ("forward", ("mulu", "div", "divu"), _SCALE),
    (
        "forward",
        ("add",),
        "masks: a causal one is added today, selected then (left out by the parser); an empty one is added then, "
        "not today; Switch adds position bias and mask one after the other today",
    ),
    ("forward", ("mul",), "experts: outputs are weighted expert by expert today, all at once then"),
    ("forward", ("mulu+softmax", "add+divu+softmax"), _SCALE + "; the empty mask is not added today"),
    ("forward", ("add+mulu+softmax", "div", "softmax"), _CHAIN),
    ("forward", ("tanh", "relu"), "the pooler's tanh is called relu in the artifact"),
    ("backward", ("ln",), "the artifact writes a layer norm's backward as mul"),
    ("backward", ("mul",), "the artifact writes a layer norm's backward as mul, a softmax's as mul and softmax"),
    ("backward", ("add",), "sums of the gradients of a tensor used twice: left out by the artifact"),
    ("backward", ("mulu", "div", "divu"), _SCALE + "; the artifact gives the divisor a gradient too"),
    ("backward", ("tanh", "addu"), "a tanh's backward is one kernel today, mulu and addu in the artifact"),
    (
        "accumulation",
        ("add",),
        "the artifact counts tied weights twice, gives layers without bias one, sizes a position bias by the "
        "vocabulary, and leaves position embeddings out",
    ),
)
