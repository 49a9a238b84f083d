"""Processor time and memory on an artifact many times as large: `python benchmarks/scale.py [--figure FILE]`.

The transcribed cells are repeated under other batch sizes, their latencies shifted by a few percent; kernels are
drawn at random. Each stage (evaluation, figures, report) is one process, as in the workflow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow/scripts"))
CELLS = ROOT / "resources/published/end_to_end.csv"
FIGURES = ("error_distribution", "predicted_vs_measured")


def make_cells(folder: Path, count: int) -> None:
    """At least `count` predicted cells with their labels."""
    from tilecast.artifact.published import read_published
    from tilecast.tables.declared.artifact import LABELS, PREDICTIONS
    from tilecast.tables.io import write

    labels, predictions = read_published(CELLS)
    copies = -(-count // len(predictions))
    for name, table, schema in (("labels", labels, LABELS), ("predictions", predictions, PREDICTIONS)):
        draw = np.random.default_rng(len(name))
        whole = pd.concat([table.assign(batch_size=table["batch_size"] + 10_000 * i) for i in range(copies)])
        for part in ("latency_ms", "forward_ms", "backward_ms"):
            whole[part] *= draw.uniform(0.95, 1.05, len(whole))
        write(whole, folder / f"tidy/{name}.csv", schema)


def make_kernels(folder: Path, count: int) -> None:
    """`count` kernels in a Parquet file written piece by piece, an eighth of them held out."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from tilecast.tables.declared.artifact import KERNELS
    from tilecast.tables.io import check

    piece = min(count, 500_000)
    (folder / "tidy").mkdir(parents=True, exist_ok=True)
    writer = None
    for start in range(0, count, piece):
        draw = np.random.default_rng(start)
        rows = min(piece, count - start)
        family = draw.choice(["bmm", "linear", "elementwise", "softmax", "norm"], rows)
        matrix = np.isin(family, ["bmm", "linear"])
        size = 2 ** draw.integers(4, 12, (4, rows))
        frame = pd.DataFrame(
            {
                "device": draw.choice(["Tesla_T4", "Tesla_V100-PCIE-32GB", "NVIDIA_L4"], rows),
                "split": np.where(np.arange(rows) % 8 == 0, "test", "train"),
                "family": family, "op": np.where(family == "elementwise", "add", family), "dtype": "fp32",
                "b": np.where(family == "linear", 1, size[0]), "m": size[1],
                "n": size[2] * matrix, "k": size[3] * matrix,
                "latency_ms": draw.uniform(0.01, 10, rows), "kernel_name": "synthetic", "source": "synthetic",
                **dict.fromkeys(("grid", "grid_x", "grid_y", "grid_z", "block"), 0),
            }
        )  # fmt: skip
        table = pa.Table.from_pandas(check(frame, KERNELS, "synthetic"), preserve_index=False)
        writer = writer or parquet.ParquetWriter(folder / "tidy/kernels.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


def stage_errors(folder: Path) -> None:
    """Errors of every cell."""
    from evaluate_errors import evaluate_errors

    where = folder / "evaluation"
    tidy = [str(folder / f"tidy/{name}.csv") for name in ("labels", "predictions")]
    evaluate_errors(tidy[0], tidy[1:], str(where / "errors.csv"), str(where / "phase_errors.csv"))


def stage_statistics(folder: Path) -> None:
    """Statistics of every group."""
    from evaluate_mape import evaluate_mape

    where = folder / "evaluation"
    words = [str(where / f"{name}.csv") for name in ("errors", "phase_errors", "mape", "phase_mape")]
    evaluate_mape(words[0], words[1], 2000, 0.95, 0, words[2], words[3])


def stage_figures(folder: Path) -> None:
    """Four figures, one after the other."""
    from importlib import import_module

    from tilecast.present.figures.style import save
    from tilecast.tables.declared.evaluation import ERRORS
    from tilecast.tables.io import read

    errors = read(folder / "evaluation/errors.csv", ERRORS)
    for name in FIGURES:
        stem = folder / f"figures/{name}"
        ends = {"svg": ".svg", "pdf": ".pdf", "png": ".png", "data": ".csv", "about": ".json"}
        picture = import_module(f"tilecast.present.figures.{name}").draw(errors)
        save(picture, **{key: f"{stem}{end}" for key, end in ends.items()})


def stage_report(folder: Path) -> None:
    """The page from what the stages before made."""
    from report_page import report_page

    from tilecast.present.page.page import PAGES

    files = [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "tidy"]
    files += [str(folder / "tidy/labels.csv")]
    pages = [str(folder / f"report/{name}.html") for name in PAGES]
    report_page(files, str(ROOT / "config/claims.yaml"), str(ROOT / "report"), pages)


def stage_kernels(folder: Path) -> None:
    """Three predictors on the held-out kernels."""
    from evaluate_kernels import evaluate_kernels

    where = folder / "evaluation"
    devices = str(ROOT / "resources/published/devices.csv")
    records = dict.fromkeys(("roofline", "li", "tilecast"))
    kernels = str(folder / "tidy/kernels.parquet")
    evaluate_kernels(kernels, devices, records, str(where / "kernel_errors.csv"))


STAGES: dict[str, Callable[[Path], None]] = {
    "errors": stage_errors,
    "statistics": stage_statistics,
    "figures": stage_figures,
    "report": stage_report,
    "kernels": stage_kernels,
}


def measured(stage: str, folder: Path) -> tuple[float, float]:
    """Processor seconds and largest memory (GB) of one stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{stage} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> None:
    """Print a table, and draw it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="*", default=[2_000, 20_000, 200_000])
    parser.add_argument("--kernels", type=int, nargs="*", default=[300_000, 3_000_000, 30_000_000])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        STAGES[options.stage](options.folder)
        return
    rows = []
    print("| stage | rows | processor, s | GB | result, MB |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        for make, counts, stages in (
            (make_cells, options.cells, ("errors", "statistics", "figures", "report")),
            (make_kernels, options.kernels, ("kernels",)),
        ):
            for count in counts:
                folder = Path(scratch, f"{make.__name__}-{count}")
                make(folder, count)
                for stage in stages:
                    before = set(folder.rglob("*"))
                    seconds, memory = measured(stage, folder)
                    written = sum(p.stat().st_size for p in set(folder.rglob("*")) - before if p.is_file()) / 1e6
                    rows.append((stage, count, seconds, memory))
                    print(f"| {stage} | {count} | {seconds:.1f} | {memory:.2f} | {written:.1f} |", flush=True)
    if options.figure:
        draw(rows, options.figure)


def _short(value: float) -> str:
    """A figure as an axis shows it: 2k, 30M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def draw(rows: list[tuple[str, int, float, float]], target: Path) -> None:
    """Time and memory over size, one line a stage, both axes logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from tilecast.present.figures import style

    figure = style.canvas(3.4)
    panels = figure.subplots(1, 2)
    for axes, place, label in ((panels[0], 2, "Processor time (s)"), (panels[1], 3, "Memory (GB)")):
        for stage in dict.fromkeys(row[0] for row in rows):
            part = [row for row in rows if row[0] == stage]
            axes.plot([row[1] for row in part], [row[place] for row in part], marker="o", markersize=3)
            axes.annotate(f" {stage}", (part[-1][1], part[-1][place]), fontsize=style.MINOR_PT, va="center")
        axes.set(xscale="log", yscale="log", xlabel="Rows (cells; kernels)", ylabel=label)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0,) if axis is axes.xaxis else (1.0, 2.0, 5.0)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.margins(x=0.3)
    panels[1].axhline(4, color=style.INK, linewidth=0.8, linestyle="--")
    panels[1].annotate("4 GB", (2_000, 4), fontsize=style.MINOR_PT, va="bottom")
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
