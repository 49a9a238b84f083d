"""A folder of trained weights: its files, and record.json with their training and their checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.documents import LARGEST_TENSORS_BYTES, read_json, read_tensors, regular
from tilecast.base.errors import InputError
from tilecast.base.files import atomic_path, write_text

RECORD, CHECKSUMS = "record.json", "sha256"
TRAIN = "train it: `tilecast train`"


def read_record(folder: Path, hint: str = TRAIN) -> dict[str, Any]:
    """The record of a folder; every file of which it holds a checksum is the file it was written for."""
    record = read_json(folder / RECORD, hint)
    sums = record.get(CHECKSUMS) if isinstance(record, dict) else None
    if not isinstance(sums, dict) or not sums:
        raise InputError(folder / RECORD, f"holds no checksums (`{CHECKSUMS}`) of the weights", hint)
    for name, expected in sums.items():
        file = folder / Path(name).name
        if _checksum(file, hint) != expected:
            raise InputError(file, f"is not the file that its record ({folder / RECORD}) was written for", hint)
    return record


def read_arrays(folder: Path, record: Mapping[str, Any], stem: str, hint: str = TRAIN) -> dict[str, Array]:
    """The arrays of `<stem>.safetensors`, one of the files that the record holds a checksum of."""
    return read_tensors(_named(folder, record, f"{stem}.safetensors", hint), hint)


def read_numbers(folder: Path, record: Mapping[str, Any], stem: str, hint: str = TRAIN) -> Any:
    """The content of `<stem>.json`, one of the files that the record holds a checksum of."""
    return read_json(_named(folder, record, f"{stem}.json", hint), hint)


def write_arrays(folder: Path, stem: str, arrays: Mapping[str, Array]) -> None:
    """Write `<stem>.safetensors`; `write_record` has to follow."""
    from safetensors.numpy import save_file

    with atomic_path(folder / f"{stem}.safetensors") as temporary:
        save_file({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, temporary)


def write_record(folder: Path, record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Write the record with the checksums of the named files, and return it."""
    sums = {name: _checksum(folder / name) for name in sorted(names)}
    whole = {**record, CHECKSUMS: sums}
    write_text(folder / RECORD, json.dumps(whole, indent=2, sort_keys=True) + "\n")
    return whole


def _named(folder: Path, record: Mapping[str, Any], name: str, hint: str) -> Path:
    if name not in record[CHECKSUMS]:
        raise InputError(folder / RECORD, f"holds no checksum of {name}", hint)
    return folder / name


def _checksum(file: Path, hint: str = "") -> str:
    with regular(file, LARGEST_TENSORS_BYTES, hint).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
