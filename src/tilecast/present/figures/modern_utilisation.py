"""Share of peak that bf16 matrix products reach, measured and forecast with the GPU's generation left out."""

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/modern/surface.csv": "half_precision.surface"}
GROUP, TITLE, ORDER = "Modern GPUs", "Utilisation", 160

SHOWN = {
    "NVIDIA_A100-SXM4-80GB": "A100",
    "NVIDIA_L40S": "L40S",
    "NVIDIA_H100_80GB_HBM3": "H100",
    "NVIDIA_B200": "B200",
    "NVIDIA_RTX_PRO_6000": "RTX 6000",
}


def mean_gap(part: pd.DataFrame) -> float:
    """How far forecast and measured shares lie apart on average, in percentage points."""
    return float(100 * (part["measured"] - part["forecast"]).abs().mean())


def draw(surface: pd.DataFrame) -> style.Picture:
    """A column a GPU; above measured, below forecast; m across, n up, k near n."""
    if surface.empty:
        return style.empty_panel(TITLE, "the wheel of kernel timings was not fetched")
    shown = [name for name in SHOWN if name in set(surface["device"])]
    part = surface[surface["device"].isin(shown)]
    columns, rows = sorted(part["m"].unique()), sorted(part["n"].unique())
    figure = style.canvas(2.6)
    panels = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey=True)
    look = {"origin": "lower", "vmin": 0, "vmax": 100, "cmap": "cividis", "aspect": "auto"}
    for place, name in enumerate(shown):
        mine = part[part["device"] == name]
        for axes, what in zip(panels[:, place], ("measured", "forecast"), strict=True):
            shares = mine.pivot(index="n", columns="m", values=what).reindex(index=rows, columns=columns)
            mesh = axes.imshow(100 * shares.to_numpy(), interpolation="nearest", **look)
            axes.set_xticks([0, len(columns) - 1], labels=_ends(columns))
            axes.set_yticks([0, len(rows) - 1], labels=_ends(rows))
            if place == 0:
                axes.set_ylabel(f"{what}\nn ≈ k")
        panels[0, place].set_title(SHOWN[name], fontsize=style.MINOR_PT, pad=2)
        panels[1, place].set_xlabel("m")
    bar = figure.colorbar(mesh, ax=panels.ravel().tolist(), fraction=0.03, pad=0.01)
    bar.set_label("Share of peak (%)")
    return style.finish(figure, part, _finding(part, shown))


def _finding(part: pd.DataFrame, shown: list[str]) -> style.Finding:
    """How far off forecasts are, and which GPU comes nearest its peak."""
    tops = {SHOWN[name]: float(100 * part[part["device"] == name]["measured"].max()) for name in shown}
    best = max(tops, key=tops.__getitem__)
    title = (
        f"Utilisation of an unmeasured generation is forecast {naming.significant(mean_gap(part), 2)} points off "
        f"on average; {best} comes nearest its peak, {style.percent(tops[best], 2)}"
    )
    note = (
        f"n = {len(part):,} medians of bf16 products, by powers of two, n and k within a factor of two. Peak: "
        "dense, as specified. White: not measured."
    )
    caption = (
        "Share of the specified dense bf16 peak that matrix products reach, above as measured, below as forecast "
        f"with the GPU's generation left out; {len(part):,} medians by powers of two of m and n, with k near n."
    )
    words = "; ".join(f"{name} {style.percent(value, 2)}" for name, value in tops.items())
    return style.Finding(title, note, caption, f"{title}. Highest measured share: {words}.", len(part))


def _ends(values: list[float]) -> list[str]:
    """The labels of the first and the last value: 64, 16k."""
    return [f"{int(value)}" if value < 1024 else f"{int(value) // 1024}k" for value in (values[0], values[-1])]
