"""Pack results into one archive to send, with checksums and a description, and check one that was received.

Inside: `artifact_validation/`, `live_<model>.json`, `parallel_<layout>.json`, `fusion_<model>.json`,
`scenarios.csv`, `measured/<device>/` as it was measured, `ro-crate-metadata.json`, and `manifest-sha256.txt` over
all of these.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from tilecast.base.documents import parse_json, regular, shown
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.files import write_bytes
from tilecast.measure.describe import DESCRIPTION, device_of, read_description
from tilecast.measure.store import PLANS, load_run
from tilecast.tables.crate import NAME as CRATE
from tilecast.tables.crate import crate
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.declared.measured import LIVE_MODELS, MEASURED, PLANNED
from tilecast.tables.io import read

MANIFEST = "manifest-sha256.txt"
ABOUT: dict[str, object] = {
    "name": "Tilecast results",
    "description": "Published claims about GPU performance forecasting held against data, and measurements of "
    "this project with the forecasts made before them.",
}
LARGEST_BYTES = 512 << 20  # of everything in a bundle: more is not a bundle of this project
MOST_FILES = 10_000
HEADERS_BYTES = 64 << 20  # names and padding of so many
VALIDATION = ("claims", "claim_rows", "errors", "mape", "phase_mape", "operator_errors", "label_noise_mape")
LAYOUTS = {"dp4": "dp4", "tp4": "tp4", "pp4_1": "pp4"}
_DISTRUST, _AGAIN = "do not trust this archive", "ask for the bundle again"
_LONGEST_NAME = 255  # bytes of a file or folder, on the file systems in use
_DEVICE_FILE = re.compile(
    r"measured/[\w.+-]+/(description\.json|forecasts-\w+\.parquet|\w+-\d{3}\.(parquet|json))"
)


def collect(results: Path, roots: Mapping[str, Path]) -> dict[str, bytes]:
    """The files of a bundle by name, from finished results and folders of measurements."""
    copied = {f"artifact_validation/{name}.csv": results / f"evaluation/{name}.csv" for name in VALIDATION}
    copied["scenarios.csv"] = results / "measure/scenarios.csv"
    found = {name: path.read_bytes() for name, path in copied.items() if path.exists()}
    errors = results / "evaluation/errors.csv"
    if not errors.exists():
        raise InputError(results, "holds no finished results", "run the workflow first (make reproduce)")
    cells = read(errors, ERRORS)
    for option, layout in LAYOUTS.items():
        found |= _json(f"parallel_{layout}", cells[cells["option"] == option])
    for model, part in cells[cells["option"] == "fusion"].groupby("model"):
        plain = cells[(cells["option"] == "none") & (cells["model"] == model)]
        pairs = plain.merge(part[["predictor", "device", "mode", "sequence_length", "batch_size"]])
        found |= _json(f"fusion_{_safe(str(model))}", pd.concat([pairs, part], ignore_index=True))
    models = results / "measure/models.csv"
    if models.exists():
        for model, part in read(models, LIVE_MODELS).groupby("model"):
            found |= _json(f"live_{_safe(str(model))}", part)
    for where, root in roots.items():
        for folder in sorted(path.parent for path in root.glob(f"*/{DESCRIPTION}")):
            taken = f"measured/{folder.name}/{DESCRIPTION}" in found  # this machine may be among those kept
            for path in sorted(folder.iterdir()):
                name = f"measured/{folder.name}{f'.{where}' if taken else ''}/{path.name}"
                if _DEVICE_FILE.fullmatch(name):
                    found[name] = path.read_bytes()
    return found


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _json(name: str, rows: pd.DataFrame) -> dict[str, bytes]:
    """A JSON file of table rows, by its name; an empty dictionary where there are no rows."""
    if rows.empty:
        return {}
    records = json.loads(rows.to_json(orient="records", double_precision=12))
    return {f"{name}.json": (json.dumps({"rows": records}, indent=1, ensure_ascii=False) + "\n").encode()}


def make(files: Mapping[str, bytes], target: Path) -> None:
    """Write the bundle of these files, with what describes them and checksums of all."""
    about = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    described = dict(files) | {CRATE: crate(ABOUT, about)}
    write_bytes(target, pack(described | {MANIFEST: sums(described)}))


def sums(files: Mapping[str, bytes]) -> bytes:
    """A line a file: its SHA-256 and its name, as `sha256sum --check` reads them."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz: sorted, without owners, dates or modes, so that its bytes depend on its files alone."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


def verify(path: Path) -> dict[str, bytes]:
    """The files of a bundle, every one checked; anything else about it is refused in one line."""
    files = _unpacked(path)
    for needed in (MANIFEST, CRATE):
        if needed not in files:
            raise InputError(path, f"has no {needed}", "it is not a bundle of this project, or only a part of one")
    stated = _manifest(files[MANIFEST], path)
    present = set(files) - {MANIFEST}
    for name in sorted(set(stated) | present):
        if name not in present:
            raise InputError(path, f"{name} is missing", _AGAIN)
        if name not in stated:
            raise InputError(path, f"{name} is not in its manifest", _AGAIN)
        if hashlib.sha256(files[name]).hexdigest() != stated[name]:
            raise InputError(path, f"{name} was changed (its checksum differs)", _AGAIN)
    _check_crate(files, path)
    with tempfile.TemporaryDirectory() as scratch:
        _check_measured(files, Path(scratch), path)
    return files


def _unpacked(path: Path) -> dict[str, bytes]:
    """Regular files of the archive by name, in memory; nothing is written, nothing outside is named."""
    found: dict[str, bytes] = {}
    total = 0
    regular(path, LARGEST_BYTES)
    try:
        with gzip.open(path) as packed:  # at once: a header's length alone can stand for gigabytes
            data = packed.read(LARGEST_BYTES + HEADERS_BYTES + 1)
        if len(data) > LARGEST_BYTES + HEADERS_BYTES:
            raise InputError(path, "is larger than any bundle", _DISTRUST)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                place = PurePosixPath(entry.name)
                if entry.isdir():  # who packs by hand adds them; nothing is unpacked to disk
                    continue
                if not entry.isreg() or place.is_absolute() or ".." in place.parts or "\\" in entry.name:
                    raise InputError(path, f"{entry.name!r} is not a plain file inside it", _DISTRUST)
                total += entry.size
                if total > LARGEST_BYTES or len(found) >= MOST_FILES:
                    raise InputError(path, "is larger than any bundle", _DISTRUST)
                if entry.name in found:
                    raise InputError(path, f"holds {entry.name} twice", _DISTRUST)
                stream = archive.extractfile(entry)
                found[entry.name] = stream.read() if stream else b""
    except TilecastError:
        raise
    except Exception as error:  # damaged archives make their readers raise anything
        raise InputError(path, f"cannot be read as a .tar.gz ({error})", _AGAIN) from None
    return found


def _manifest(data: bytes, path: Path) -> dict[str, str]:
    stated: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if match is None or match[2] in stated:
            raise InputError(f"{path}, {MANIFEST}, line {number}", "is not `<sha256>  <name>`", "ask for it again")
        stated[match[2]] = match[1]
    return stated


def _check_crate(files: Mapping[str, bytes], path: Path) -> None:
    try:
        graph = parse_json(files[CRATE], f"{path}, {CRATE}")["@graph"]
        listed = {str(entry["@id"]) for entry in graph if entry.get("@type") == "File"}
    except (KeyError, TypeError, AttributeError):
        raise InputError(path, f"{CRATE} is not RO-Crate metadata", _AGAIN) from None
    if listed != set(files) - {MANIFEST, CRATE}:
        raise InputError(path, f"{CRATE} does not list its files", _AGAIN)


def measured(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those files of a bundle that hold measurements."""
    return {name: data for name, data in files.items() if name.startswith("measured/")}


def _check_measured(files: Mapping[str, bytes], scratch: Path, path: Path) -> None:
    """Every measured table reads by its schema, with its record, from a scratch folder."""
    for name, data in measured(files).items():
        longest = max(map(len, name.encode().split(b"/")))
        if not _DEVICE_FILE.fullmatch(name) or longest > _LONGEST_NAME:
            raise InputError(path, f"{shown(name)} is not a file of a measurement", _AGAIN)
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(data)
    for folder in sorted(scratch.glob("measured/*")):
        try:
            description = read_description(folder / DESCRIPTION)
            if description.get("known") is None and "sm_count" in description:
                device_of(description, folder / DESCRIPTION)
            for file in sorted(folder.glob("*.parquet")):
                kind = file.stem.rsplit("-", 1)[0]
                if file.name in PLANS.values():
                    read(file, PLANNED[file.stem.removeprefix("forecasts-")])
                elif kind in MEASURED:
                    load_run(file, kind)
                else:
                    raise InputError(file, "is not a table of a measurement")
        except TilecastError as error:
            raise InputError(path, str(error).replace(f"{scratch}/", ""), "it is refused") from None


def import_measured(path: Path, root: Path) -> list[str]:
    """Check a bundle and add its measurements below `root`; returns what was new. Nothing present is changed."""
    wanted = {root / name.removeprefix("measured/"): data for name, data in measured(verify(path)).items()}
    if not wanted:
        raise InputError(path, "holds no measurements", "its maker has to measure first (tilecast measure)")
    for target, data in wanted.items():
        if target.exists() and target.read_bytes() != data:
            raise InputError(target, "is there already, and differs from the bundle's", "keep one of the folders")
    new = [target for target in wanted if not target.exists()]
    for target in sorted(new, key=lambda target: (target.name != DESCRIPTION, str(target))):
        write_bytes(target, wanted[target])
    return sorted(str(target.relative_to(root)) for target in new)


def devices_of(files: Mapping[str, Any]) -> list[str]:
    """Folders of devices in a bundle."""
    return sorted({name.split("/")[1] for name in files if name.startswith("measured/")})
