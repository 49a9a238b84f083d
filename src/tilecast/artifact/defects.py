"""Find what is wrong or missing in the artifact by computing over its tables; it is shown, never repaired."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.store import parse_json
from tilecast.base.errors import InputError
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import DEFECTS
from tilecast.tables.io import check, empty

CELL = list(CELL_KEY)
WORKLOAD = CELL[1:]
SUM_LIMIT = 0.2  # a cell is listed when its operators' sum misses the measured latency by more than this
# Two files' timings of an operation disagree when, at shapes this near, the median pace differs by more than that.
NEAR_OCTAVES, LEAST_PAIRS, PACE_LIMIT = 0.5, 20, 2.0

NOTE, AFFECTS = "note", "affects results"


class Defect(NamedTuple):
    """One row of the `defects` table."""

    kind: str
    where: str
    detail: str
    severity: str


class Tables(NamedTuple):
    """The tidy tables the checks look at."""

    devices: pd.DataFrame
    labels: pd.DataFrame
    predictions: pd.DataFrame
    operator_labels: pd.DataFrame
    operator_predictions: pd.DataFrame
    graphs: pd.DataFrame
    kernels: pd.DataFrame


def read_reference(path: str | os.PathLike[str]) -> pd.DataFrame:
    """What vendors and papers say: subject, quantity, value, source."""
    try:
        return pd.read_csv(path)[["subject", "quantity", "value", "source"]].astype({"value": "float64"})
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            path, f"cannot be read as a table of subject, quantity, value, source ({error})"
        ) from None


def find_defects(
    tables: Tables, files: dict[str, bytes], fetched: set[str], lock: list[str], reference: pd.DataFrame
) -> pd.DataFrame:
    """The `defects` table.

    `files` are the artifact's configuration and summary files, `fetched` all paths that were fetched, `lock` all
    that the commit holds, `reference` what vendors and papers say (subject, quantity, value, source).
    """
    found = [
        *_unpaired(tables),
        *_misnamed(tables, files),
        *_absent(fetched, lock),
        *_sums(tables),
        *_parts(tables),
        *_free_kernels(tables),
        *timings(tables.kernels),
        *_device_facts(tables, files, reference),
        *_model_facts(files, reference),
        *_parallel_graphs(tables, files),
        *_summary_backward(files),
    ]
    if not found:
        return empty(DEFECTS)
    return check(pd.DataFrame(found).sort_values(["kind", "where"], ignore_index=True), DEFECTS, "defects")


def _cell(row: pd.Series) -> str:
    work = names.Workload(*(row[name] for name in WORKLOAD))
    return f"{row['device']}/{names.file_stem(work)}"


def _unpaired(tables: Tables) -> Iterator[Defect]:
    """Labels without a prediction and predictions without a label."""
    predicted = tables.predictions[CELL].drop_duplicates()
    both = tables.labels[CELL].merge(predicted, on=CELL, how="outer", indicator="side")
    for _, row in both[both["side"] == "left_only"].iterrows():
        yield Defect("label without prediction", _cell(row), "measured, but no predictor has a forecast", AFFECTS)
    for (device, mode, option), group in both[both["side"] == "right_only"].groupby(["device", "mode", "option"]):
        models = ", ".join(f"{model} ({count})" for model, count in sorted(Counter(group["model"]).items()))
        detail = f"predicted but not measured (cells): {models}"
        yield Defect("prediction without label", f"{device}, {mode}, option {option}", detail, NOTE)


def _misnamed(tables: Tables, files: dict[str, bytes]) -> Iterator[Defect]:
    """Files named after a model the artifact does not configure."""
    known = {
        path.removeprefix(names.MODELS).removesuffix(".json") for path in files if path.startswith(names.MODELS)
    }
    for table in (tables.labels, tables.predictions, tables.operator_labels):
        strange = table[~table["model"].isin(known)] if known else table[:0]
        for path, model in sorted(set(zip(strange["source"], strange["model"], strict=True))):
            near = [name for name in sorted(known) if name.startswith(model.rstrip("0123456789"))]
            hint = f"; {', '.join(near)} is meant" if near else ""
            yield Defect("misnamed file", path, f"no model configuration is called {model}{hint}", AFFECTS)


def _absent(fetched: set[str], lock: list[str]) -> Iterator[Defect]:
    """Files of the commit that the source in use does not hold."""
    if not fetched:  # transcribed figures only: the report says so in its header
        return
    missing = Counter("/".join(path.split("/")[2:4]) for path in lock if path not in fetched)
    total = Counter("/".join(path.split("/")[2:4]) for path in lock)
    for folder, count in sorted(missing.items()):
        detail = f"{count} of {total[folder]} files of the commit are not in the source that served"
        yield Defect("file absent from the source", folder, detail, NOTE)


def _sums(tables: Tables) -> Iterator[Defect]:
    """Measured operators that do not add up to the measured model."""
    rows = tables.operator_labels
    if rows.empty:
        return
    parts = ["latency_ms", "forward_ms", "backward_ms"]
    sums = rows[CELL].join(rows[parts].mul(rows["repeats"], axis="index")).groupby(CELL).sum().reset_index()
    known = tables.predictions[CELL].drop_duplicates()
    both = tables.labels.merge(known, on=CELL).merge(sums, on=CELL, suffixes=("", "_sum"))
    for vendor, group in both.groupby(both["device"].str.startswith("AMD").map({True: "AMD", False: "NVIDIA"})):
        miss = (group["latency_ms_sum"] / group["latency_ms"] - 1).abs()
        detail = (
            "measured operators, each times its repetitions, miss the measured latency by "
            f"{100 * miss.mean():.1f} % on average over {len(group)} cells (largest {100 * miss.max():.1f} %)"
        )
        yield Defect("inconsistent sum", f"{vendor} labels", detail, AFFECTS)
    for _, row in both.iterrows():
        ratios = {part: row[f"{part}_sum"] / row[part] for part in parts if row[part] > 0}
        if any(abs(ratio - 1) > SUM_LIMIT for ratio in ratios.values()):
            detail = "operators' sum over measured: " + ", ".join(
                f"{part.removesuffix('_ms')} {ratio:.2f}" for part, ratio in ratios.items()
            )
            yield Defect("inconsistent sum", _cell(row), detail, AFFECTS)


def _parts(tables: Tables) -> Iterator[Defect]:
    """Forward and backward that do not add up to the whole, or were not recorded."""
    for kind, table in (("label", tables.labels), ("prediction", tables.predictions)):
        whole = table["forward_ms"] + table["backward_ms"].fillna(0)
        off = table[(whole / table["latency_ms"] - 1).abs() > 1e-4]  # above the rounding of transcribed figures
        for path, ratio in zip(off["source"], (whole / table["latency_ms"])[off.index], strict=True):
            yield Defect(
                "parts and whole differ", path, f"forward plus backward is {ratio:.4f} of the whole", AFFECTS
            )
        bare = table[table["forward_ms"].isna()]
        if len(bare):
            options = ", ".join(sorted(set(bare["option"])))
            detail = f"{len(bare)} {kind}s (options {options}) hold 0 for forward and backward"
            yield Defect("parts not recorded", f"{kind}s", detail, NOTE)


def _free_kernels(tables: Tables) -> Iterator[Defect]:
    """Kernels with work to do that a predictor says cost nothing."""
    graphs, predicted = tables.graphs, tables.operator_predictions
    if graphs.empty or predicted.empty:
        return
    zero = graphs["dims"].str.contains(r"(?:^|[,;])0(?:$|[,;])")  # an expert without tokens has nothing to do
    works = graphs[~zero & graphs["kernel"].str.match("BMM|Linear|VEC")]
    nodes = works[[*WORKLOAD, "name", "phase"]].drop_duplicates()
    for (predictor, device), group in predicted.groupby(["predictor", "device"]):
        if not (group[["forward_ms", "accumulation_ms"]] == 0).to_numpy().any():
            continue
        counts = {}
        for phase in ("forward", "backward", "accumulation"):
            both = group.merge(nodes[nodes["phase"] == phase], on=[*WORKLOAD, "name"])
            cost = both["backward_ms"] - both["accumulation_ms"] if phase == "backward" else both[f"{phase}_ms"]
            if int((cost == 0).sum()):
                counts[phase] = f"{int((cost == 0).sum())} of {len(both)} {phase}"
        if counts:
            detail = (
                f"predicted to cost exactly 0 ms though they have work: {', '.join(counts.values())} operators"
            )
            yield Defect("kernel for nothing", f"{predictor} on {device}", detail, AFFECTS)


def timings(kernels: pd.DataFrame) -> Iterator[Defect]:
    """Operations that one GPU's training file times unlike its test file, at shapes next to each other."""
    import numpy as np
    from scipy.spatial import cKDTree

    for (device, op), rows in kernels.groupby(["device", "op"]):
        shapes = np.log2(rows[list("bmnk")].clip(lower=1).to_numpy(dtype=float))
        pace = np.log2(rows["latency_ms"].to_numpy(dtype=float)) - shapes.sum(axis=1)  # time per unit of work
        train, test = ((rows["split"] == split).to_numpy() for split in ("train", "test"))
        if not train.any() or not test.any():
            continue
        apart, nearest = cKDTree(shapes[train]).query(shapes[test], p=np.inf)
        near = apart <= NEAR_OCTAVES
        if near.sum() < LEAST_PAIRS:
            continue
        times = float(2 ** np.median((pace[train][nearest] - pace[test])[near]))
        if max(times, 1 / times) > PACE_LIMIT:
            detail = (
                f"a kernel of the training file takes {times:.2g} times as long for its work as one of the test "
                f"file (median of {near.sum()} pairs whose dimensions differ by at most a factor "
                f"{2**NEAR_OCTAVES:.2g})"
            )
            yield Defect("timings disagree", f"{op} on {device}", detail, AFFECTS)


def _device_facts(tables: Tables, files: dict[str, bytes], reference: pd.DataFrame) -> Iterator[Defect]:
    """Device files that contradict the vendor, or their own units."""
    devices = tables.devices.set_index("device")
    for _, fact in reference[reference["subject"].isin(devices.index)].iterrows():
        held, true = float(devices.loc[fact["subject"], fact["quantity"]]), float(fact["value"])
        if abs(held / true - 1) > 0.01:
            detail = f"{fact['quantity']} is {held:.6g}; the vendor says {true:.6g} ({fact['source']})"
            yield Defect("device fact", str(devices.loc[fact["subject"], "source"]), detail, AFFECTS)
    peak = 2 * devices["sm_count"] * devices["cores_per_sm"] * devices["clock_hz"] / devices["fp32_flops_per_s"]
    peak = peak[devices["vendor"] == "NVIDIA"]
    if len(peak):
        detail = (
            "the README calls Freq GHz; only as MHz does 2 x multiprocessors x lanes x Freq agree with the peak "
            f"rate the files give (ratio {peak.min():.2f} to {peak.max():.2f} on {len(peak)} NVIDIA devices)"
        )
        yield Defect("unit", names.DEVICES, detail, NOTE)
    for path in files:
        if path.startswith(names.DEVICES):
            own = path.removeprefix(names.DEVICES).removesuffix(".json")
            device = str(json.loads(files[path]).get("Device"))
            if names.device_of(device) != own:
                detail = f"a file of its own for the device {device}: other figures for tensor parallelism"
                yield Defect("device variant", path, detail, NOTE)


_HIDDEN = ("n_embd", "hidden_size", "d_model")
_LAYERS = ("n_layer", "num_hidden_layers", "num_layers")


def _model(files: dict[str, bytes], model: str) -> dict[str, int] | None:
    path = f"{names.MODELS}{model}.json"
    if path not in files:
        return None
    found = parse_json(path, files[path], ())
    keys = {"hidden": _HIDDEN, "layers": _LAYERS, "vocabulary": ("vocab_size",)}
    return {name: int(found[key]) for name, options in keys.items() for key in options if key in found}


def _billions(model: dict[str, int]) -> float:
    """Parameters of a decoder: 12 L h^2 in the layers, V h in the embedding; 10^9."""
    return (12 * model["layers"] * model["hidden"] ** 2 + model["vocabulary"] * model["hidden"]) / 1e9


def _model_facts(files: dict[str, bytes], reference: pd.DataFrame) -> Iterator[Defect]:
    """Model configurations that are not the model their name says."""
    for model, facts in reference.groupby("subject"):
        held = _model(files, str(model))
        if held is None:
            continue
        said = {str(q): int(v) for q, v in zip(facts["quantity"], facts["value"], strict=True)}
        if any(held.get(quantity) != value for quantity, value in said.items()):
            detail = (
                f"{held['layers']} layers of width {held['hidden']} ({_billions(held):.2f} billion parameters); "
                f"the published model has {said['layers']} of {said['hidden']} "
                f"({_billions(held | said):.2f} billion; {facts['source'].iloc[0]})"
            )
            yield Defect("model size", f"{names.MODELS}{model}.json", detail, NOTE)


def _parallel_graphs(tables: Tables, files: dict[str, bytes]) -> Iterator[Defect]:
    """Four-GPU graphs whose softmax or embedding gradient has the wrong size."""
    graphs = tables.graphs
    softmax = graphs[graphs["kernel"] == "VECsoftmax"]
    keys = ["source", "name", "dims"]
    forward, backward = (softmax.loc[softmax["phase"] == phase, keys] for phase in ("forward", "backward"))
    both = forward.merge(backward, on=["source", "name"], suffixes=("", "_backward")).drop_duplicates()
    for _, row in both[both["dims"] != both["dims_backward"]].iterrows():
        detail = f"{row['name']}: softmax is ({row['dims']}) forward but ({row['dims_backward']}) backward"
        yield Defect("graph dimensions", row["source"], detail, AFFECTS)
    embedding = graphs[graphs["kernel"].str.startswith("ALLREDUCE") & graphs["name"].str.endswith("_wte_grad")]
    for _, row in embedding.iterrows():
        model = _model(files, row["model"])
        if model is not None and int(row["dims"]) != model["vocabulary"] * model["hidden"]:
            detail = (
                f"{row['name']}: all-reduces {int(row['dims']):,} elements (sequence x width) where the embedding "
                f"has {model['vocabulary'] * model['hidden']:,} (vocabulary x width)"
            )
            yield Defect("graph dimensions", row["source"], detail, AFFECTS)


def _summary_backward(files: dict[str, bytes]) -> Iterator[Defect]:
    """The summary's labelled backward: what it is made of."""
    path = names.SUMMARIES + "summary.csv"
    if path not in files:
        return
    try:
        summary = pd.read_csv(io.BytesIO(files[path]), low_memory=False)
    except Exception as error:  # a parser's own words
        raise InputError(path, f"cannot be read as a table ({error})") from None
    minus = cells = 0
    for name in summary.columns[summary.columns.str.match(r"label_.*_acc_latency")]:
        stem = name.removesuffix("acc_latency")
        if {f"{stem}bw_latency", f"{stem}bwall_latency"} <= set(summary.columns):
            some = summary[summary[name] > 0]
            cells += len(some)
            off = (some[f"{stem}bw_latency"] - some[name] - some[f"{stem}bwall_latency"]).abs()
            minus += int((off < 1e-6 * some[f"{stem}bw_latency"].abs() + 1e-9).sum())
    if minus:
        detail = (
            f"in {minus} of {cells} operator cells with accumulation the labelled whole backward is backward "
            "minus accumulation, where the measurement is backward plus accumulation"
        )
        yield Defect("summary convention", path, detail, AFFECTS)
