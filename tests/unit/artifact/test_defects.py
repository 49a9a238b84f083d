"""What is wrong in the artifact, found in tables that hold the mistake and one row beside it that does not."""

from __future__ import annotations

import json

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.defects import AFFECTS, Tables, _parallel_graphs
from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.io import empty


def node(kernel: str, name: str, phase: str, dims: object, source: str = "a.csv") -> dict[str, object]:
    return {"source": source, "model": "mine", "kernel": kernel, "name": name, "phase": phase, "dims": str(dims)}


def found(*rows: dict[str, object]) -> list[tuple[str, str]]:
    graphs = pd.DataFrame(rows) if rows else empty(GRAPHS)
    tables = Tables(*(pd.DataFrame() for _ in range(5)), graphs=graphs, kernels=pd.DataFrame())
    model = json.dumps({"n_embd": 8, "n_layer": 2, "vocab_size": 100}).encode()
    defects = list(_parallel_graphs(tables, {f"{names.MODELS}mine.json": model}))
    assert {(defect.kind, defect.severity) for defect in defects} <= {("graph dimensions", AFFECTS)}
    return [(defect.where, defect.detail) for defect in defects]


def test_a_softmax_has_one_size_in_both_passes() -> None:
    sound = [node("VECsoftmax", "h_0", "forward", "4, 8"), node("VECsoftmax", "h_0", "backward", "4, 8")]
    assert found(*sound) == []
    wrong = [node("VECsoftmax", "h_1", "forward", "4, 8"), node("VECsoftmax", "h_1", "backward", "4, 16")]
    assert found(*sound, *wrong) == [("a.csv", "h_1: softmax is (4, 8) forward but (4, 16) backward")]
    elsewhere = [node("VECsoftmax", "h_0", "backward", "1, 1", source="b.csv")]
    assert found(*sound, *elsewhere) == []  # another graph's


def test_only_the_embeddings_gradient_has_its_size() -> None:
    """100 words of width 8: other all-reduces, and other kernels of that gradient, have sizes of their own."""
    sound = [
        node("ALLREDUCE4", "transformer_wte_grad", "backward", 800),
        node("ALLREDUCE4", "h_0_grad", "backward", 64),
        node("VECadd", "transformer_wte_grad", "backward", 5),
    ]
    assert found(*sound) == []
    ((where, detail),) = found(*sound, node("ALLREDUCE4", "other_wte_grad", "backward", 4096, source="b.csv"))
    assert where == "b.csv"
    assert detail.startswith("other_wte_grad: all-reduces 4,096 elements") and "800" in detail
