"""Our kernel lists compared with the artifact's operator graphs, and the reason for every difference."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

COMPARE_COLUMNS = ("phase", "what", "ours", "artifact", "reason")
CLASSES = ("elementwise", "softmax", "norm")
_MOVES = ("dropout", "cast", "embedding", "fill")  # parts of a chain that the artifact does not write down
TOLERANCE = 0.02  # of a phase's elements, above which a difference needs a reason


class Product(NamedTuple):
    """A matrix product (b, m, k) x (b, k, n)."""

    b: int
    m: int
    n: int
    k: int

    def turned(self) -> Product:
        """The transposed product: the same work, written the other way round."""
        return self._replace(m=self.n, n=self.m)


def artifact_products(rows: pd.DataFrame) -> dict[str, Counter[Product]]:
    """Matrix products by phase of the `graphs` table, which writes Linear (m, k, n) and BMM (b, m, k, n)."""
    found: dict[str, Counter[Product]] = {}
    for row in rows[rows["kernel"].isin(["Linear", "BMM"])].itertuples():
        sizes = [int(size) for size in str(row.dims).split(",")]
        b, m, k, n = [1, *sizes] if row.kernel == "Linear" else sizes
        found.setdefault(str(row.phase), Counter())[Product(b, m, n, k)] += 1
    return found


def our_products(kernels: pd.DataFrame) -> dict[str, Counter[Product]]:
    """Matrix products by phase of a `kernel_list` table."""
    found: dict[str, Counter[Product]] = {}
    for row in kernels[kernels["family"].isin(["linear", "bmm"])].to_dict("records"):
        product = Product(row["b"], row["m"], row["n"], row["k"])
        found.setdefault(row["phase"], Counter())[product] += row["count"]
    return found


def artifact_elements(rows: pd.DataFrame) -> Counter[tuple[str, str]]:
    """Elements worked on, by phase and operation."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows[rows["kernel"].str.startswith("VEC")].itertuples():
        b, m = (int(size) for size in str(row.dims).split(","))
        found[str(row.phase), str(row.kernel).removeprefix("VEC")] += b * m
    return found


def our_elements(kernels: pd.DataFrame) -> Counter[tuple[str, str]]:
    """Elements worked on, by phase and operation, of a `kernel_list` table."""
    found: Counter[tuple[str, str]] = Counter()
    for row in kernels[kernels["family"].isin(CLASSES)].to_dict("records"):
        found[row["phase"], row["op"]] += row["b"] * row["m"] * row["count"]
    return found


def artifact_chains(rows: pd.DataFrame) -> Counter[tuple[str, str]]:
    """Fused vector kernels: how often each set of operations runs as one, movement left out."""
    found: Counter[tuple[str, str]] = Counter()
    for (phase, _), node in rows[rows["kernel"].str.startswith("VEC")].groupby(["phase", "position"]):
        found[str(phase), "+".join(sorted(name.removeprefix("VEC") for name in node["kernel"]))] += 1
    return found


def our_chains(kernels: pd.DataFrame) -> Counter[tuple[str, str]]:
    """The same of a fused `kernel_list` table."""
    found: Counter[tuple[str, str]] = Counter()
    for row in kernels[kernels["family"].isin(CLASSES)].to_dict("records"):
        operations = sorted(op for op in row["op"].split("+") if op not in _MOVES)
        found[row["phase"], "+".join(operations)] += row["count"]
    return found


def compare(kernels: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """What differs between our table and the artifact's rows of one cell; `reason` is empty where none is known.

    Every matrix product whose count differs; every operation whose elements differ by more than 2 % of all of its
    phase. Of a fused cell: every chain whose count differs instead. Columns phase, what, ours, artifact, reason.
    """
    import pandas as pd

    found: list[tuple[str, str, int, int, str]] = []
    ours, theirs = our_products(kernels), artifact_products(rows)
    for phase in sorted(set(ours) | set(theirs)):
        mine, other = ours.get(phase, Counter()), theirs.get(phase, Counter())
        extra, missing = mine - other, other - mine
        for product in sorted(set(extra) | set(missing)):
            partners = missing if product in extra else extra
            what = "product " + "x".join(map(str, product))
            found.append((phase, what, mine[product], other[product], _product_reason(product, partners)))
    fused = (rows["option"] == "fusion").any()
    kind = "chain" if fused else "elements of"
    left = our_chains(kernels) if fused else our_elements(kernels)
    right = artifact_chains(rows) if fused else artifact_elements(rows)
    whole: Counter[str] = Counter()
    for (phase, _), number in right.items():
        whole[phase] += number
    for phase, name in sorted(set(left) | set(right)):
        a, b = left[phase, name], right[phase, name]
        if abs(a - b) > (0 if fused else TOLERANCE * whole[phase]):
            found.append((phase, f"{kind} {name}", a, b, _vector_reason(phase, name)))
    return pd.DataFrame(found, columns=list(COMPARE_COLUMNS))


def _product_reason(product: Product, partners: Counter[Product]) -> str:
    """Why a product is on one side only, found from similar products on the other side."""
    if product.turned() in partners:
        return "weight gradient: transposed, as the model stores its weights inputs x outputs; same work"
    work = math.prod(product)
    if any(math.prod(partner) == work and (partner.b == 1) != (product.b == 1) for partner in partners):
        return "the artifact takes some layers' attention products for Linear, batch folded into rows; same work"
    return ""


def _vector_reason(phase: str, name: str) -> str:
    return next((reason for where, names, reason in _REASONS if where == phase and name in names), "")


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
