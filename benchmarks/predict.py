"""Kernels forecast per second on one core, and the memory it takes: `python benchmarks/predict.py [KERNELS]`.

Kernels are drawn at random, all distinct: no forecast is looked up twice.
"""

# ruff: noqa: E402 - thread counts are read when numpy is imported
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import json
import resource
import sys
import time

import numpy as np
import pandas as pd

from tilecast.hardware.device import load_device
from tilecast.predict.base import complete
from tilecast.predict.tilecast import Tilecast

MIX = {"linear": 0.25, "bmm": 0.15, "elementwise": 0.4, "softmax": 0.1, "norm": 0.1}


def random_kernels(count: int, seed: int = 0) -> pd.DataFrame:
    """`count` fp32 kernels of the five learned families, dimensions log-uniform."""
    draw = np.random.default_rng(seed)
    family = draw.choice(list(MIX), size=count, p=list(MIX.values()))
    matrix = np.isin(family, ["linear", "bmm"])
    size = {name: np.exp(draw.uniform(np.log(16), np.log(8192), count)).astype(int) for name in "bmnk"}
    op = np.where(family == "elementwise", draw.choice(["add", "mul", "gelu", "tanh"], count), family)
    columns = {
        "family": family,
        "op": np.where(family == "norm", "ln", op),
        "b": np.where(family == "linear", 1, size["b"]),
        "m": size["m"],
        "n": np.where(matrix, size["n"], 0),
        "k": np.where(matrix, size["k"], 0),
    }
    return complete(pd.DataFrame(columns))


def main(count: int) -> None:
    """Print one line of JSON a device: an unseen one asks several experts, a seen one asks its own."""
    model, kernels = Tilecast.load(), random_kernels(count)
    for name in ("A100-40GB", "H100"):
        device = load_device(name)
        model.predict(kernels.head(1000), device)
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            model.predict(kernels, device)
            best = min(best, time.process_time() - began)
        figures = {
            "device": name,
            "kernels": count,
            "seconds": round(best, 3),
            "kernels_per_s": round(count / best),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000)
