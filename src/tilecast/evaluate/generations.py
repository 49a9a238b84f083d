"""Half-precision forecasts against measured kernels of GPU generations left out of training, beside baselines.

The protocol: every generation is left out once; and forward in time, older ones forecast the next. The decay of
the donors' weights and the interval are chosen within the generations left to train on. The model's form and its
physical constants are the same in every fold; docs/evidence/design-log-half-precision.md says how they were set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tilecast.artifact.aiconfigurator_tables import FILES, GENERATIONS, SYSTEMS, Archive, kernel_table
from tilecast.base.arrays import Array
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.baselines import Timed, Work, compared, rivals
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import devices
from tilecast.predict.physics.chip import FLOPS_PER_JOULE, UNIT_EXPONENT, chip
from tilecast.predict.train.generations import LARGE_MS, Groups, LeaveOut, Rows, group_rows
from tilecast.tables.declared.half_precision import GENERATION_BASELINES, PROTOCOL

LATER = "RTX Blackwell", "Blackwell"
# Kind of fold, what is forecast, and what besides it must not be seen.
FOLDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    *(("left out", name, ()) for name in dict.fromkeys(GENERATIONS.values())),
    ("forward", "Hopper", LATER),
    ("forward", "Blackwell", LATER),
    ("forward", "RTX Blackwell", LATER),
)
SIZES_MS = tuple(float(2.0**power) for power in range(-9, 9))


def known_devices() -> dict[str, Device]:
    """The nine GPUs of the wheel, by the figures of data/devices."""
    every = devices()
    return {name: every[name] for name in SYSTEMS.values()}


def read_groups(
    archive: Archive,
    noise: bool = True,
    families: Collection[str] = tuple(FILES),
    dtypes: Collection[str] = (),
) -> Groups:
    """Kernels of the default frameworks by family/format and GPU, straight from the wheel."""
    groups: Groups = {}
    for family in families:
        for system, device in SYSTEMS.items():
            table = kernel_table(archive, system, family, noise, dtypes)
            for group, rows in group_rows(table, family).items():
                groups.setdefault(group, {})[device] = rows
    return groups


def groups_of(path: str | os.PathLike[str]) -> Groups:
    """The same from the tidy table, one GPU and family in memory at a time."""
    import pyarrow.parquet as parquet

    groups: Groups = {}
    with parquet.ParquetFile(path) as file:
        for place in range(file.num_row_groups):
            table = file.read_row_group(place).to_pandas()
            device, family = table[["device", "family"]].iloc[0]
            for group, rows in group_rows(table, str(family)).items():
                groups.setdefault(group, {})[str(device)] = rows
    return groups


def summary(
    about: tuple[str, ...], rows: Rows, forecast: Array, half_width: Array | None = None
) -> dict[str, Any]:
    """A row of `protocol`: `about`, then errors of long calls, of all calls, and with flagged rows."""
    good, measured = rows.good, rows.measured_ms
    error = absolute_error_percent(forecast, measured)
    long = good & (measured >= LARGE_MS)
    inside = np.nan
    if half_width is not None:
        inside = 100 * float(np.mean(np.abs(np.log(measured[good] / forecast[good])) <= half_width[good]))
    return dict(zip(PROTOCOL.columns, about)) | {
        "n": int(good.sum()),
        "n_long": int(long.sum()),
        "mape_long_percent": float(error[long].mean()) if long.any() else np.nan,
        "mape_percent": float(error[good].mean()),
        "ratio_median": float(np.median(forecast[good] / measured[good])),
        "inside_percent": inside,
        "half_width": np.nan if half_width is None else float(np.median(half_width)),
        "n_flagged": int((~good).sum()),
        "mape_with_flagged_percent": float(error.mean()),
    }


def protocol(rounds: LeaveOut, progress: Callable[[str], None] = print) -> pd.DataFrame:
    """Every fold of every family and format: roofline and tilecast, one row a GPU."""
    law, table = f"{FLOPS_PER_JOULE / 1e12:g} TFLOP/J, {UNIT_EXPONENT:g}", []
    for group, found in rounds.groups.items():
        family, dtype = group.split("/")
        for kind, generation, more in FOLDS:
            out = {generation, *more}
            targets = [name for name in found if GENERATIONS[name] == generation]
            inside = set(rounds.in_group(group)) - out
            if not targets or not inside:
                continue
            decay, _ = rounds.choose(group, out)
            width = rounds.half_width(group, out, decay) if len(inside) > 1 else None
            for device in targets:
                rows, about = found[device], (kind, generation, device, family, dtype)
                widths = None if width is None else width * rounds.doubt(group, device, out)
                table.append(summary((*about, "roofline"), rows, rounds.known(group, device).roofline_ms))
                ours = summary((*about, "tilecast"), rows, rounds.forecast(group, device, out, decay), widths)
                table.append(ours | {"law": law, "decay": decay})
        progress(f"{group}: protocol done")
    return pd.DataFrame(table, columns=list(PROTOCOL.columns))


def by_generation(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the GPUs of each generation, all GPUs alike, and the number of kernels and of GPUs."""
    keys = ["kind", "family", "dtype", "generation", "predictor"]
    means = ("mape_long_percent", "mape_percent", "ratio_median", "inside_percent", "mape_with_flagged_percent")
    figures: dict[str, Any] = {name: (name, "mean") for name in means}
    figures |= {"n": ("n", "sum"), "gpus": ("device", "size")}
    return table.groupby(keys, sort=False).agg(**figures).reset_index()


def by_size(rounds: LeaveOut, group: str) -> pd.DataFrame:
    """Error against a kernel's measured time, by octaves, with each generation left out."""
    table = []
    for generation in dict.fromkeys(GENERATIONS.values()):
        decay, _ = rounds.choose(group, {generation})
        for device, rows in rounds.groups[group].items():
            if GENERATIONS[device] != generation:
                continue
            ours = rounds.forecast(group, device, {generation}, decay)
            octave = np.digitize(rows.measured_ms, SIZES_MS)
            for predictor, forecast in ("roofline", rounds.known(group, device).roofline_ms), ("tilecast", ours):
                error = absolute_error_percent(forecast, rows.measured_ms)
                for place in np.unique(octave[rows.good]):
                    some = rows.good & (octave == place)
                    about = (generation, device, predictor, SIZES_MS[max(place - 1, 0)])
                    table.append((*about, int(some.sum()), float(error[some].mean())))
    return pd.DataFrame(table, columns=["generation", "device", "predictor", "from_ms", "n", "mape_percent"])


def surface(rounds: LeaveOut, group: str = "gemm/bf16") -> pd.DataFrame:
    """Share of peak that products reach, measured and forecast with the generation left out: m by n, k near n."""
    table = []
    for device, rows in rounds.groups[group].items():
        out = {GENERATIONS[device]}
        floor_ms = rounds.known(group, device).floor_ms
        forecast = rounds.forecast(group, device, out, rounds.choose(group, out)[0])
        frame = pd.DataFrame(
            {
                "device": device,
                "m": 2 ** np.round(np.log2(rows.dims["m"])),
                "n": 2 ** np.round(np.log2(rows.dims["n"])),
                "measured": floor_ms / rows.measured_ms,
                "forecast": floor_ms / forecast,
            }
        )
        square = rows.good & (np.abs(np.log2(rows.dims["n"] / rows.dims["k"])) <= 1)
        table.append(frame[square].groupby(["device", "m", "n"], as_index=False).median())
    return pd.concat(table, ignore_index=True)


def noise(groups: Groups) -> pd.DataFrame:
    """The measurement noise floor: how far frameworks lie apart on the same library kernel, percent."""
    table = []
    for group, found in groups.items():
        for device, rows in found.items():
            known = rows.noise_percent[rows.good & ~np.isnan(rows.noise_percent)]
            family, dtype = group.split("/")
            table.append(
                {
                    "device": device,
                    "family": family,
                    "dtype": dtype,
                    "n": len(known),
                    "mean_percent": float(known.mean()) if len(known) else np.nan,
                    "p90_percent": float(np.quantile(known, 0.9)) if len(known) else np.nan,
                    "duplicates_and_slow_paths": int((~rows.good).sum()),
                    "rows": len(rows.measured_ms),
                }
            )
    return pd.DataFrame(table)


def sampled(groups: Groups, count: int, seed: int) -> Groups:
    """At most `count` rows of each GPU, family and format."""
    result: Groups = {}
    for group, found in groups.items():
        for device, rows in found.items():
            total = len(rows.measured_ms)
            some = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
            dims = {name: values[some] for name, values in rows.dims.items()}
            part = Rows(dims, rows.measured_ms[some], rows.good[some], rows.noise_percent[some])
            result.setdefault(group, {})[device] = part
    return result


def shipped_errors(groups: Groups, model: Any, every: Mapping[str, Device]) -> pd.DataFrame:
    """The shipped experts on a sample of the kernels, each generation left out: what an ordinary run repeats."""
    table = []
    for group, found in groups.items():
        family, dtype = group.split("/")
        for device, rows in found.items():
            generation = GENERATIONS[device]
            others = {GENERATIONS[name] for name in found} - {generation}
            if not others:
                continue
            forecast = model.forecast(family, dtype, rows.dims, every[device], without=(generation,))
            width = np.log(forecast["high_ms"] / forecast["latency_ms"])
            about = ("left out", generation, device, family, dtype, "tilecast")
            shipped = {"law": "as shipped", "decay": model.meta["decay"][group]}
            table.append(summary(about, rows, forecast["latency_ms"], width) | shipped)
    return pd.DataFrame(table, columns=list(PROTOCOL.columns))


def rivals_left_out(groups: Groups, sample: Groups, model: Any, every: Mapping[str, Device]) -> pd.DataFrame:
    """The `generation_baselines` table: bf16 products of a sample, each generation left out, beside simple rivals.

    Rivals are fitted on all kernels of the other generations; the nearest GPU is that of the nearest matrix unit.
    """
    found, table = groups["gemm/bf16"], []
    unit = {name: chip(every[name], "bf16").unit for name in found}
    timed: dict[str, Timed] = {
        name: (_product(rows, every[name]).where(rows.good), rows.measured_ms[rows.good])
        for name, rows in found.items()
    }
    for generation in dict.fromkeys(GENERATIONS[name] for name in found):
        known = {name: one for name, one in timed.items() if GENERATIONS[name] != generation}
        truth, views = [], {}  # type: ignore[var-annotated]
        for name in (name for name in found if GENERATIONS[name] == generation):
            rows = sample["gemm/bf16"][name]
            work, good = _product(rows, every[name]), rows.good
            ours = model.forecast("gemm", "bf16", rows.dims, every[name], without=(generation,))["latency_ms"]
            views.setdefault("tilecast", []).append(ours[good])
            views.setdefault("roofline", []).append(work.roofline_ms[good])
            away = {other: abs(unit[other] - unit[name]) for other in known}
            like = min(away, key=away.__getitem__)
            for rival, forecast in rivals(known, like).items():
                views.setdefault(rival, []).append(forecast(work)[good])
            truth.append(rows.measured_ms[good])
        measured = np.concatenate(truth)
        joined = {name: np.concatenate(parts) for name, parts in views.items()}
        for calls, some in (("long", measured >= LARGE_MS), ("all", np.ones(len(measured), dtype=bool))):
            about = {"generation": generation, "calls": calls}
            forecasts = {name: forecast[some] for name, forecast in joined.items()}
            table.append(compared(about, measured[some], forecasts, "tilecast"))
    return pd.concat(table, ignore_index=True)[list(GENERATION_BASELINES.columns)]


def _product(rows: Rows, device: Device) -> Work:
    m, n, k = (rows.dims[name] for name in "mnk")
    compute = 2e3 * m * n * k / device.peak_flops_per_s("bf16", matrix=True)
    memory = 2e3 * (m * k + k * n + m * n) / device.bandwidth_bytes_per_s
    return Work(np.log2(np.stack([m, n, k], axis=1)), compute, memory)
