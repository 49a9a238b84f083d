"""The training example on other numbers of GPUs, with the same batch and with the same batch a GPU."""

import pandas as pd

from tilecast.present.figures import style

TABLES = {"results/parallel/study/scaling.csv": "multigpu.scaling"}
GROUP, TITLE, ORDER = "Many GPUs", "Scaling", 210

KINDS = {"same batch": ("#D55E00", "o"), "same batch a GPU": ("#0072B2", "s")}


def draw(scaling: pd.DataFrame) -> style.Picture:
    """Left tokens per second over GPUs, right what a GPU adds against the smallest number; bands: intervals."""
    shown = scaling[scaling["feasible"] > 0].reset_index(drop=True)
    if shown.empty:
        return style.empty_panel(TITLE, "no layout of the study fits")
    figure = style.canvas(2.0)
    left, right = figure.subplots(1, 2)
    kept: dict[str, float] = {}
    keys = []
    for kind, (colour, marker) in KINDS.items():
        part = shown[shown["scaling"] == kind].sort_values("gpus")
        if part.empty:
            continue
        gpus, rate = part["gpus"], part["tokens_per_s"] / 1e3
        low, high = (rate * part["step_ms"] / part[name] for name in ("high_ms", "low_ms"))
        each = rate / gpus / (rate.iloc[0] / gpus.iloc[0]) * 100
        left.fill_between(gpus, low, high, color=colour, alpha=0.15, linewidth=0)
        for axes, values in ((left, rate), (right, each)):
            axes.plot(gpus, values, color=colour, marker=marker, markersize=3.5, linewidth=1.1)
        keys.append(style.line_key(kind, colour, marker=marker, markersize=3.5))
        kept[kind] = float(each.iloc[-1])
    for axes in (left, right):
        style.plain_log(axes.xaxis)
        counts = sorted(set(shown["gpus"]))
        axes.set_xticks(counts[::2], [f"{count:,}" for count in counts[::2]])
        axes.grid(axis="y")
        axes.set_xlabel("GPUs")
    style.plain_log(left.yaxis)
    left.set_ylabel("1,000 tokens per s")
    right.set_ylabel("Rate of a GPU (%)")
    right.set_ylim(bottom=0)
    return style.finish(figure, shown, _finding(shown, kept), keys=keys)


def _finding(shown: pd.DataFrame, kept: dict[str, float]) -> style.Finding:
    """What a GPU keeps of its rate on the largest number of GPUs."""
    least, most = int(shown["gpus"].min()), int(shown["gpus"].max())
    words = ", ".join(f"{style.percent(value, 2)} with the {kind}" for kind, value in kept.items())
    title = f"From {least:,} to {most:,} GPUs a GPU keeps of its rate {words}"
    note = (
        "Each point is the best layout of a smaller search; the data name it. Bands: the forecasts' intervals. "
        "Forecasts, not measured."
    )
    caption = (
        f"The training example on {least:,} to {most:,} GPUs, with the same batch over all (strong scaling) and "
        f"with the same batch a GPU (weak scaling); {len(shown)} forecasts. Right: tokens per second and GPU "
        f"against those on {least:,} GPUs."
    )
    return style.Finding(title, note, caption, f"{title}.", len(shown))
