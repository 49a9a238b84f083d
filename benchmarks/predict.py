"""Kernels forecast per second on one core, and the memory it takes: `python benchmarks/predict.py [KERNELS]`.

Kernels are drawn at random, all distinct: no forecast is looked up twice. A million at most are held in memory;
all of them are streamed, as a list too long for memory would be: read as Parquet, forecast and written in blocks.
"""

# ruff: noqa: E402 - thread counts are read when numpy is imported
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tilecast.hardware.device import Device
from tilecast.hardware.device_file import load_device
from tilecast.predict.kernel import complete
from tilecast.predict.tilecast import Tilecast

DEVICES = ("A100-40GB", "H100")  # one an expert was trained on, one that several experts are asked for
STREAMED = 1 << 18  # kernels held at a time
ROUNDS = 5  # of kernels in memory, the devices in turns: their median is told
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


def write_kernels(path: Path, count: int) -> None:
    """A Parquet file of random kernels, drawn and written STREAMED at a time."""
    writer = None
    for start in range(0, count, STREAMED):
        block = pa.Table.from_pandas(random_kernels(min(STREAMED, count - start), start), preserve_index=False)
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    assert writer is not None
    writer.close()


def forecast_file(model: Tilecast, kernels: Path, device: Device, output: Path) -> None:
    """Forecast a Parquet file of kernels into another, row by row, STREAMED at a time."""
    writer = None
    with pq.ParquetFile(kernels, pre_buffer=False) as source:  # or what was read stays in memory
        for batch in source.iter_batches(batch_size=STREAMED):
            forecast = model.predict(complete(batch.to_pandas()), device)
            block = pa.Table.from_pandas(forecast, preserve_index=False)
            writer = writer or pq.ParquetWriter(output, block.schema)
            writer.write_table(block)
    assert writer is not None
    writer.close()


def main(count: int) -> None:
    """Print one line of JSON a device."""
    model = Tilecast.load()
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "kernels.parquet", Path(scratch) / "forecast.parquet"
        write_kernels(source, count)
        streamed = {}
        for name in DEVICES:  # first, so that the peak is streaming's own
            began = time.process_time()
            forecast_file(model, source, load_device(name), target)
            streamed[name] = round(count / (time.process_time() - began))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        few, spent = random_kernels(min(count, 1_000_000)), {name: [0.0] * ROUNDS for name in DEVICES}
        for turn in range(ROUNDS):
            for name in DEVICES:
                device, began = load_device(name), time.process_time()
                model.predict(few, device)
                spent[name][turn] = time.process_time() - began
        for name in DEVICES:
            in_memory = round(len(few) / median(spent[name]))
            figures = {"device": name, "kernels_per_s": in_memory, "rounds": ROUNDS, "streamed": count}
            figures |= {"streamed_per_s": streamed[name], "streamed_peak_memory_mib": peak}
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000)
