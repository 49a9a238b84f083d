"""Roofline as the artifact's baseline has it: operations at peak rate, or bytes at peak bandwidth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tilecast.hardware.device import Device
from tilecast.predict.kernel import PRODUCT_FAMILIES, complete, forecast_frame, moved_bytes, streamed_ms


class Roofline:
    """max(operations / peak, bytes / bandwidth) for matrix products and attention; bytes / bandwidth for the rest.

    The artifact's mixture of gigabytes is kept: 2^30 for matrix products and copies, 10^9 for vector kernels.
    """

    name = "roofline"
    artifact_figures = True

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latencies without intervals."""
        frame = complete(kernels)
        binary_s = streamed_ms(frame, device) / 1e3
        decimal_s = moved_bytes(frame) / device.bandwidth_bytes_per_s
        matrix = frame["family"].isin(PRODUCT_FAMILIES).to_numpy()
        peak = {dtype: device.peak_flops_per_s(dtype, True) for dtype in frame["dtype"].unique()}
        compute_s = frame["flops"].to_numpy(dtype=float) / frame["dtype"].map(peak).to_numpy(dtype=float)
        copied = (frame["family"] == "memory").to_numpy()
        streamed_s = np.where(matrix | copied, binary_s, decimal_s)
        latency_s = np.where(matrix, np.maximum(compute_s, streamed_s), streamed_s)
        bound = np.where(matrix & (compute_s >= streamed_s), "compute", "bandwidth")
        return forecast_frame(frame, latency_s * 1e3, bound)
