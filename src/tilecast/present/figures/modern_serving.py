"""Serving times of dense models, forecast with the GPU's generation left out, against measured ones."""

import pandas as pd

from tilecast.base.statistics import error_percent
from tilecast.evaluate.findings import nearly_all
from tilecast.evaluate.statistics import error_summary
from tilecast.hardware.device_file import devices
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/modern/serving.csv": "half_precision.serving"}
GROUP, TITLE, ORDER = "Modern GPUs", "Serving", 170

MARKERS = ("o", "s", "^", "D")
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
# What says which point it is, each with what stands before it.
SAID = {
    "model": "",
    "framework": "",
    "precision": "",
    "prompt": "prompt ",
    "output": "output ",
    "concurrency": "requests at once: ",
    "tp": "TP ",
}
TIMES = {"tpot": "Output token", "ttft": "First token"}


def errors_of(points: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Median and 90th percentile of the error of each of the two times, in words."""
    errors = {time: error_percent(points[f"{time}_ms"], points[f"measured_{time}_ms"]) for time in TIMES}
    return {
        time: {name: style.percent(error_summary(error)[f"{name}_percent"], 2) for name in ("median", "p90")}
        for time, error in errors.items()
    }


def draw(serving: pd.DataFrame) -> style.Picture:
    """Dense models with the GPU's generation left out: a panel each time, a mark a GPU; the diagonal is exact."""
    points = serving[serving["left_out"].astype(bool) & (serving["kind"] == "dense")] if len(serving) else serving
    if points.empty:
        return style.empty_panel(TITLE, "the wheel of serving points was not fetched")
    names = sorted(points["device"].unique())
    errors = errors_of(points)
    figure = style.canvas(2.4)
    for axes, (time, label) in zip(figure.subplots(1, 2), TIMES.items(), strict=True):
        x, y = points[f"measured_{time}_ms"], points[f"{time}_ms"]
        low, high = float(min(x.min(), y.min())) * 0.8, nearly_all(x.where(x > y, y)) * 1.3
        for name, marker, colour in zip(names, MARKERS, COLOURS, strict=False):
            mine = points["device"] == name
            look = {"color": colour, "markersize": 2, "markeredgewidth": 0, "alpha": 0.6}
            axes.plot(x[mine], y[mine], marker, rasterized=True, **look)
        axes.plot([low, high], [low, high], color=style.INK, linewidth=0.8)
        for factor in (0.8, 1.25):
            axes.plot([low, high], [low * factor, high * factor], color=style.MUTED, linewidth=0.5, linestyle=":")
        style.plain_log(axes.xaxis)
        style.plain_log(axes.yaxis)
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="Measured (ms)", ylabel="Forecast (ms)")
        words = f"{label}: median {errors[time]['median']}, P90 {errors[time]['p90']}"
        axes.set_title(words, fontsize=style.MINOR_PT, pad=2)
    every = devices()
    keys = [
        style.mark_key(every[name].short, colour, marker, markersize=4)
        for name, marker, colour in zip(names, MARKERS, COLOURS, strict=False)
    ]
    columns = ["point", "device", *SAID, *(f"{a}{b}_ms" for b in TIMES for a in ("measured_", ""))]
    outside = int((points["measured_ttft_ms"] > nearly_all(points["measured_ttft_ms"])).sum())
    groups = {name: (every[name].short, colour) for name, colour in zip(names, COLOURS, strict=False)}
    views = tuple(
        style.View(
            title=f"{label.lower()} of every serving point",
            x=(f"measured_{time}_ms", "Measured (ms)"),
            y=(f"{time}_ms", "Forecast (ms)"),
            by="device",
            groups=groups,
            words=SAID,
            exact=True,
        )
        for time, label in TIMES.items()
    )
    by_gpu = {every[name].short: errors_of(points[points["device"] == name]) for name in names}
    far = " ".join(_far(points[points["device"] == name], every[name].short) for name in names).strip()
    found = _finding(len(points), errors, by_gpu, outside, far)
    return style.finish(figure, points[columns], found, keys=keys, columns=4, views=views)


Errors = dict[str, dict[str, str]]


def _far(points: pd.DataFrame, gpu: str) -> str:
    """Where over a tenth of a GPU's first tokens miss by more than 100 %: of which models and frameworks."""
    factor = points["ttft_ms"] / points["measured_ttft_ms"]
    far = points[error_percent(points["ttft_ms"], points["measured_ttft_ms"]) > 100]
    if len(far) <= len(points) / 10:
        return ""
    of = far.groupby(["model", "framework"]).size()
    words = " and ".join(f"{n} of {model} ({framework})" for (model, framework), n in of.items())
    rest = points[~points["model"].isin(far["model"])]
    told = f"; without these models it is {errors_of(rest)['ttft']['p90']} (n = {len(rest)})" if len(rest) else ""
    low, high = (naming.significant(value) for value in (factor[far.index].min(), factor[far.index].max()))
    return (
        f"On {gpu} the {len(far)} first tokens that miss by over 100 % are {words}, forecast {low} to {high} "
        f"times as late as measured{told}. The measurements do not say why."
    )


def _finding(n: int, errors: Errors, by_gpu: dict[str, Errors], outside: int, far: str) -> style.Finding:
    """Within what nine in ten forecasts lie, and half of them."""
    token, first = errors["tpot"], errors["ttft"]
    title = (
        f"Serving on a generation nobody measured: nine in ten forecasts are off by up to {token['p90']} per "
        f"output token and {first['p90']} to the first, half by up to {token['median']} and {first['median']}"
    )
    note = (
        f"n = {n:,} measured serving points of dense models; none was used to fit anything. Line: exact; dotted: "
        f"±25 %. The {outside} slowest first tokens may lie outside their panel."
    )
    caption = (
        f"Serving points of dense models ({n:,}) as measured and as forecast from kernels, collectives and a "
        f"replayed benchmark, the GPU's generation left out; nothing was fitted to serving points. Nine in ten "
        "forecasts of an output token, and of the first, are off by up to: "
        + "; ".join(f"{name} {of['tpot']['p90']}, {of['ttft']['p90']}" for name, of in by_gpu.items())
        + f". {far}".rstrip()
    )
    return style.Finding(title, note, caption, f"{title}.", n)
