"""The artifact's operator graphs compared with our own traces of the same models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tilecast.graph.compare import COMPARE_COLUMNS, compare
from tilecast.graph.fuse import fuse
from tilecast.graph.tracer import trace
from tilecast.models.choices import Cell
from tilecast.models.registry import load_model
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

CELL = ["model", "mode", "sequence_length", "batch_size", "option"]
_ONE_LAYER = ("gpt2", "bert", "opt")  # types whose graph in the artifact is of one layer, unless it is fused


def differences(graphs: pd.DataFrame, lists: Mapping[str, Path]) -> pd.DataFrame:
    """What differs in each one-GPU cell of the artifact's `graphs` table; one row where nothing does.

    `lists` are kernel lists of whole models traced before, by `<model>-<mode>-<sequence>-<batch>`.
    """
    found = []
    for cell, rows in graphs[graphs["option"].isin(["none", "fusion"])].groupby(CELL):
        model, mode, length, batch, option = (str(part) for part in cell)
        spec = load_model(model)
        one_layer = option == "none" and spec.values["model_type"] in _ONE_LAYER
        whole = option == "none" and not one_layer
        traced = lists.get(str(Cell(model, mode, int(length), int(batch)))) if whole else None
        if traced is not None:
            kernels = read(traced, KERNEL_LIST)
        else:
            graph = trace(
                spec.shortened(1) if one_layer else spec,
                mode=mode,
                sequence_length=int(length),
                batch_size=int(batch),
            )
            kernels = (fuse(graph) if option == "fusion" else graph).kernels()
        table = compare(kernels, rows)
        if table.empty:
            table = pd.DataFrame([("", "nothing differs", 0, 0, "equal")], columns=list(COMPARE_COLUMNS))
        place = pd.DataFrame([(model, mode, int(length), int(batch), option)], columns=CELL)
        found.append(place.merge(table, how="cross"))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*CELL, *COMPARE_COLUMNS])
