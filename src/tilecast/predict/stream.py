"""Kernel lists too long for memory: read, forecast and written block by block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path
from tilecast.predict.kernel import FORECAST_COLUMNS, complete

if TYPE_CHECKING:
    from tilecast.hardware.device import Device
    from tilecast.predict.kernel import Predictor

STREAMED = 1 << 18  # kernels held at a time


def forecast_file(predictor: Predictor, kernels: Path, device: Device, output: Path) -> int:
    """Forecast a Parquet file of kernels (what `complete` takes) into another; returns how many there were.

    `output` gets FORECAST_COLUMNS, row by row as in `kernels`; memory does not grow with their number.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(kernels, pre_buffer=False)  # or what was read stays in memory
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(kernels, f"cannot be read as Parquet ({error})", "name a kernel list") from None
    fields = [
        pa.field(name, pa.string() if name in ("bound", "passport") else pa.float64()) for name in FORECAST_COLUMNS
    ]
    schema, rows = pa.schema(fields), 0
    with source, atomic_path(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in source.iter_batches(batch_size=STREAMED):
            forecast = predictor.predict(complete(batch.to_pandas()), device)
            block = forecast[list(FORECAST_COLUMNS)]
            writer.write_table(pa.Table.from_pandas(block, schema, preserve_index=False))
            rows += batch.num_rows
    return rows
