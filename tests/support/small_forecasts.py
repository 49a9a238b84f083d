"""Forecasts with intervals, and kernels, on a GPU of the training set and on one that is not: counted by hand."""

import numpy as np
import pandas as pd

from tilecast.hardware.device import devices_of_table
from tilecast.predict.kernel import forecast_frame
from tilecast.tables.declared.artifact import DEVICES, KERNELS
from tilecast.tables.declared.predict import INTERVALS
from tilecast.tables.io import check

CELL = {"model": "bert_large", "mode": "inference", "sequence_length": 512, "option": "none"}
SEEN, UNSEEN = "Tesla_V100-PCIE-32GB", "NVIDIA_H100_80GB_HBM3"


def cells(measured, predictor="tilecast", **other):
    """Errors of a predictor that says 10 ms of every cell: two on a seen GPU, the others on an unseen one."""
    rows = []
    for batch, value in enumerate(measured, 1):
        row = {"predictor": predictor, "device": SEEN if batch < 3 else UNSEEN, "batch_size": batch, **CELL}
        row |= {"measured_ms": value, "predicted_ms": 10.0, "ape_percent": abs(10 / value - 1) * 100}
        rows.append(row | {"distribution": "in" if batch < 3 else "out"} | other)
    return pd.DataFrame(rows)


def intervals(errors, low=8.0, high=12.5):
    key = ["predictor", "device", "model", "mode", "sequence_length", "batch_size", "option"]
    return check(errors[key].assign(low_ms=low, high_ms=high), INTERVALS, "intervals")


class Constant:
    """Forecasts one latency for everything, with an interval or without."""

    def __init__(self, name, latency_ms, width=None):
        self.name, self.latency_ms, self.width = name, latency_ms, width

    def predict(self, kernels, device):
        assert kernels["isolated"].all()  # measured one at a time: a launch may be counted
        frame = forecast_frame(kernels, np.full(len(kernels), self.latency_ms), np.full(len(kernels), "compute"))
        if self.width:
            frame = frame.assign(low_ms=self.latency_ms / self.width, high_ms=self.latency_ms * self.width)
        return frame


def device_table():
    row = {
        "name": "x", "vendor": "NVIDIA", "memory_bytes": 8e10, "bandwidth_bytes_per_s": 1e12, "sm_count": 100,
        "cores_per_sm": 64, "clock_hz": 1e9, "fp32_flops_per_s": 1e13, "fp32_matrix_flops_per_s": 1e13,
        "l2_bytes": 4e7, "training_gpu": True, "source": "here",
    }  # fmt: skip
    names = ("NVIDIA_A100-PCIE-40GB", UNSEEN)
    return devices_of_table(check(pd.DataFrame([row | {"device": name} for name in names]), DEVICES, "devices"))


def kernels(rows):
    """Kernels of linear layers: (device, split, m, latency)."""
    shape = {"family": "linear", "op": "linear", "dtype": "fp32", "b": 1, "n": 1024, "k": 1024}
    blank = {"kernel_name": None, "grid": 0, "grid_x": 0, "grid_y": 0, "grid_z": 0, "block": 0, "source": "here"}
    table = [
        shape | blank | {"device": device, "split": split, "m": m, "latency_ms": latency}
        for device, split, m, latency in rows
    ]
    return check(pd.DataFrame(table), KERNELS, "kernels")


A100 = "NVIDIA_A100-PCIE-40GB"
ROWS = [
    (A100, "train", 64, 9.0),
    (A100, "test", 512, 2.0),
    (UNSEEN, "test", 512, 1.0),
    (UNSEEN, "test", 1024, 4.0),
]
