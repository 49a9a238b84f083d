"""Half precision without each constant that a look at generations left out motivated, trained anew each time.

A constant cannot be taken out of a trained forecast: its networks learned what it left over. So each variant
trains the experts of the families it acts on again, on a sample, and forecasts each generation from the others
by one decay of donors, where the shipped ones are chosen within a fold: compare the variants with one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tilecast.artifact.aiconfigurator_tables import GENERATIONS
from tilecast.evaluate.constants import Held, holding
from tilecast.evaluate.generations import sampled
from tilecast.hardware.device import Device
from tilecast.predict.train.generations import PLAIN_DECAY, Groups, LeaveOut, mape
from tilecast.tables.declared.half_precision import HALF_ABLATION

KERNELS = 2000  # of a GPU and family
PRESENT = "nothing"
PRODUCTS, ATTENTION = ("gemm/bf16",), ("prefill/bf16", "decode/bf16")
_CHIP, _HALF = "predict/physics/chip.py", "predict/physics/half.py"
# What is taken out, the families it acts on, and the values that take it out.
VARIANTS: dict[str, tuple[tuple[str, ...], Held]] = {
    PRESENT: (PRODUCTS + ATTENTION, {}),
    "HALVED_FROM_UNIT": (PRODUCTS, {("predict/physics/products.py", "HALVED_FROM_UNIT"): 99.0}),
    "LASTING": (PRODUCTS, {("predict/experts.py", "LASTING"): 1.0}),
    "DRAWN_BACK": (PRODUCTS, {("predict/train/generations.py", "DRAWN_BACK"): {True: 1e-6, False: 1e-6}}),
    "PEAK_SHARE": (ATTENTION, {(_CHIP, "PEAK_SHARE"): 1.0}),
    "FLOPS_PER_JOULE": (ATTENTION, {(_CHIP, "FLOPS_PER_JOULE"): 1e30}),
    "WARM_ATTENTION": (ATTENTION, {(_HALF, "WARM_ATTENTION"): (1e-6, 2e-6)}),
    "TILE_MS": (ATTENTION, {(_HALF, "TILE_MS"): 0.0}),
}


def half_ablation(
    groups: Groups, devices: Mapping[str, Device], seed: int, progress: Callable[[str], None] = print
) -> pd.DataFrame:
    """The `half_ablation` table: mean error of a generation's GPUs, left out, without each constant."""
    bf16 = {name: found for name, found in groups.items() if name in PRODUCTS + ATTENTION}
    sample, table = sampled(bf16, KERNELS, seed), []
    for words, (families, held) in VARIANTS.items():
        some: Groups = {
            name: {device: replace(rows, known=None) for device, rows in sample[name].items()}
            for name in families
            if name in sample
        }
        with holding(held):
            rounds = LeaveOut(some, devices, GENERATIONS, seed, lambda line: None)
            for group in some:
                for generation, gpus in rounds.in_group(group).items():
                    found = [
                        mape(some[group][device], rounds.forecast(group, device, {generation}, PLAIN_DECAY))
                        for device in gpus
                    ]
                    long, every = np.mean(found, axis=0)
                    row: dict[str, Any] = {
                        "without": words,
                        "family": group.split("/")[0],
                        "generation": generation,
                    }
                    count = sum(int(some[group][device].good.sum()) for device in gpus)
                    table.append(row | {"n": count, "mape_long_percent": long, "mape_percent": every})
        progress(f"without {words}: {', '.join(some)}")
    return pd.DataFrame(table, columns=list(HALF_ABLATION.columns))
