"""Share of peak that bf16 products reach on every GPU, measured and forecast with its generation left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/modern/surface.csv": None}
GROUP = "Modern GPUs"
TITLE = "Utilisation"
ORDER = 160
CAPTION = (
    "Share of peak that bf16 matrix products reach, measured and forecast with the GPU's generation left out."
)

SHOWN = {
    "NVIDIA_A100-SXM4-80GB": "A100",
    "NVIDIA_L40S": "L40S",
    "NVIDIA_H100_80GB_HBM3": "H100",
    "NVIDIA_B200": "B200",
    "NVIDIA_RTX_PRO_6000": "RTX 6000",
}


def draw(surface: pd.DataFrame) -> style.Picture:
    """A column a GPU; above measured, below forecast; m across, n up, k near n."""
    if surface.empty:
        return style.empty_panel("Utilisation", "the wheel of kernel timings was not fetched")
    shown = [name for name in SHOWN if name in set(surface["device"])]
    part = surface[surface["device"].isin(shown)]
    columns, rows = sorted(part["m"].unique()), sorted(part["n"].unique())
    figure = style.canvas(2.6)
    panels = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey=True)
    mesh = None
    for place, name in enumerate(shown):
        mine = part[part["device"] == name]
        for line, what in enumerate(("measured", "forecast")):
            axes = panels[line][place]
            grid = mine.pivot(index="n", columns="m", values=what).reindex(index=rows, columns=columns)
            mesh = axes.imshow(
                100 * grid.to_numpy(), origin="lower", vmin=0, vmax=100, cmap="cividis", aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
            axes.set_xticks([0, len(columns) - 1], labels=_ends(columns))
            axes.set_yticks([0, len(rows) - 1], labels=_ends(rows))
            if line == 0:
                axes.set_title(SHOWN[name], fontsize=style.MINOR_PT, pad=2)
            else:
                axes.set_xlabel("m")
            if place == 0:
                axes.set_ylabel(f"{what}\nn ≈ k")
    assert mesh is not None
    bar = figure.colorbar(mesh, ax=panels.ravel().tolist(), fraction=0.03, pad=0.01)
    bar.set_label("Share of peak (%)")
    gap = float(100 * np.abs(part["measured"] - part["forecast"]).mean())
    tops = {SHOWN[name]: float(100 * part[part["device"] == name]["measured"].max()) for name in shown}
    best = max(tops, key=lambda name: tops[name])
    title = (
        f"Utilisation of an unmeasured generation is forecast {naming.significant(gap, 2)} points off on average; "
        f"{best} comes nearest its peak, {naming.significant(tops[best], 2)} %"
    )
    style.frame(
        figure,
        title,
        f"n = {len(part):,} medians of bf16 products, by powers of two, n and k within a factor of two. Peak: "
        "dense, as specified. White: not measured.",
    )
    caption = (
        "Share of the specified dense bf16 peak that matrix products reach, above as measured, below as forecast "
        f"with the GPU's generation left out; {len(part):,} medians by powers of two of m and n, with k near n."
    )
    words = "; ".join(f"{name} {naming.significant(value, 2)} %" for name, value in tops.items())
    return style.Picture(figure, part, title, caption, f"{title}. Highest measured share: {words}.", len(part))


def _ends(values: list[float]) -> list[str]:
    return [f"{int(value)}" if value < 1024 else f"{int(value) // 1024}k" for value in (values[0], values[-1])]
