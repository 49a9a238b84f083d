"""One look for every figure, and saving a figure together with its data, title, caption and description."""

import io
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.path import Path as BoxPath
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from tilecast.base.files import write_bytes, write_text
from tilecast.tables import naming
from tilecast.tables.io import write_presented

BASELINES = ("roofline", "habitat", "li")
WIDTH_IN = 6.4  # as wide as the page of a paper; 9 pt stays legible on a telephone of 390 pixels
MINOR_PT = 8
DPI, PNG_DPI = 100, 200  # of pictures within the SVG and the PDF; of the PNG
INK, MUTED, FAINT = "#1a1a1a", "#5c5c5c", "#d9d9d9"
NEEDS_ARTIFACT = "needs the full artifact"
CELL = ["device", "model", "mode", "sequence_length", "batch_size"]  # what an end-to-end cell is, its option apart
CLIP_LOW_PERCENT = 0.1  # a log axis has no zero: smaller errors are drawn here, and the figure says so

_MARKERS = {"roofline": "s", "habitat": "D", "li": "^", "neusight": "o", "tilecast": "P"}
_SPARE_MARKERS = ("v", "X", "h")

Look = dict[str, Any]  # how something is drawn: the arguments of matplotlib

matplotlib.use("Agg")
matplotlib.rcdefaults()  # a reader's own matplotlibrc must not change a figure
matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": MINOR_PT,
        "ytick.labelsize": MINOR_PT,
        "legend.fontsize": MINOR_PT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "legend.frameon": False,
        "hatch.linewidth": 0.6,
        # Text as paths: the page must look the same on a machine without the font; what a screen reader or a
        # search needs is the SVG's title and description, the sidecar's words and the CSV beside it.
        "svg.fonttype": "path",
        "text.parse_math": False,  # a dollar sign in a foreign name stays a dollar sign
        "pdf.fonttype": 42,  # TrueType, as publishers ask; text in the PDF stays searchable
    }
)


@dataclass(frozen=True)
class Finding:
    """What a figure says in words, and over how many cells."""

    title: str
    note: str  # beneath the panels: the count and remarks
    caption: str
    alt: str
    n: int


@dataclass(frozen=True)
class View:
    """Points of a figure that a reader may look at one by one, named by the columns of the figure's data."""

    title: str
    x: tuple[str, str]  # a column and its words
    y: tuple[str, str]
    by: str  # the column that colours them
    groups: Mapping[str, tuple[str, str]]  # of each of its values, in order, the name and the colour
    words: Mapping[str, str]  # the columns that say which point it is, each with what stands before its value
    exact: bool = False  # whether a point on the diagonal is exact
    front: str = ""  # the column of those that a line joins
    hollow: tuple[str, ...] = ()  # the values of the column `by` whose points are


@dataclass(frozen=True)
class Picture(Finding):
    """A drawn figure with what it says and the rows behind it."""

    figure: Figure
    data: pd.DataFrame
    reason: str = ""  # why there is nothing to draw
    views: tuple[View, ...] = ()


def marks(predictor: str) -> Look:
    """How a predictor is drawn as points: its colour; hollow where the authors' own, filled where ours."""
    name = naming.method(predictor)
    spare = _SPARE_MARKERS[sum(name.encode()) % len(_SPARE_MARKERS)]
    shade = naming.colour(predictor)
    return {
        "color": shade,
        "marker": _MARKERS.get(name, spare),
        "markeredgecolor": shade,
        "markerfacecolor": "white" if naming.is_published(predictor) else shade,
        "markeredgewidth": 1.1,
        "markersize": 4.5,
    }


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without the baselines, whose errors stand in tables; all rows where nothing else is there."""
    mine = frame[~frame["predictor"].map(naming.method).isin(BASELINES)]
    return frame if mine.empty else mine


def in_order(frame: pd.DataFrame, *columns: str) -> list[list[str]]:
    """The distinct values of each column in their order of presentation."""
    orders = {"predictor": naming.PREDICTORS, "device": naming.DEVICES, "model": naming.MODELS}
    orders |= {"family": naming.FAMILIES, "mode": naming.MODES}
    return [naming.ordered(orders[column], frame[column]) for column in columns]


def percent(value: float, digits: int = 2) -> str:
    """The number as text, with its sign of percent."""
    return f"{naming.significant(value, digits)} %"


def listed(values: Iterable[tuple[str, float]]) -> str:
    """Names with their percentages: `linear 8.89 %; softmax 12.0 %`."""
    return "; ".join(f"{name} {percent(value)}" for name, value in values)


def worded(values: Mapping[str, float]) -> str:
    """Predictors with their percentages, in the order of presentation: `NeuSight (authors) 8.89 %; ...`."""
    names = naming.ordered(naming.PREDICTORS, values)
    return listed((naming.predictor_name(name), values[name]) for name in names)


def below_scale(errors: pd.Series) -> str:
    """Says how many errors are too small for the logarithmic axis; nothing where none is."""
    small = int((errors < CLIP_LOW_PERCENT).sum())
    return f" {small} of {len(errors)} errors below {CLIP_LOW_PERCENT} % are drawn at that edge." if small else ""


def line_key(label: str, color: str, **look: Any) -> Line2D:
    """An entry of the key that is a line."""
    return Line2D([], [], label=label, color=color, **look)


def mark_key(label: str, color: str, marker: str, **look: Any) -> Line2D:
    """An entry of the key that is a mark without a line."""
    return line_key(label, color, marker=marker, linestyle="none", **look)


def canvas(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """A figure whose panels take `height_in`; `finish` adds what stands around them."""
    engine = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.03, hspace=0.02, wspace=0.02)
    return Figure(figsize=(width_in, height_in), layout=engine)


def grid(count: int, across: int, line_in: float, more_in: float = 0.0, **share: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, `across` on a line; places left over stay empty."""
    lines = -(-count // across)
    figure = canvas(lines * line_in + more_in)
    panels = figure.subplots(lines, across, squeeze=False, **share).flatten()
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, list(panels[:count])


def label_lowest(panels: Sequence[Axes], across: int, label: str) -> None:
    """Label the shared horizontal axis at the lowest panel of each column, and only there."""
    for place, axes in enumerate(panels):
        lowest = place >= len(panels) - across
        axes.tick_params(axis="x", labelbottom=lowest)
        axes.set_xlabel(label if lowest else "")


def rows(axes: Axes, names: Sequence[str], margin: float = 0.4, lines: bool = False) -> None:
    """One row a name, the first on top; `lines` divides them."""
    axes.set_ylim(len(names) - margin, margin - 1)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    for place in range(1, len(names) if lines else 1):
        axes.axhline(place - 0.5, color=FAINT, linewidth=0.5)


def lanes(predictors: Sequence[str], spread: float = 0.25) -> list[tuple[str, float]]:
    """Each predictor with its height within a row, from -spread to spread."""
    last = len(predictors) - 1
    return [(name, 2 * spread * lane / last - spread if last else 0.0) for lane, name in enumerate(predictors)]


def finish(
    figure: Figure,
    data: pd.DataFrame,
    found: Finding,
    predictors: Sequence[str] = (),
    *,
    keys: Sequence[Artist] = (),
    columns: int = 3,
    views: tuple[View, ...] = (),
) -> Picture:
    """The picture of drawn panels: finding and key above, note beneath; the figure grows by what they take."""
    width, panels = figure.get_size_inches()
    title, note = (re.sub(r"(?<=[\d=]) (?=[%\d])", "\u00a0", words) for words in (found.title, found.note))
    title = textwrap.fill(title, int(width * 10.8))
    note = textwrap.fill(note, int(width * 15.8))
    handles = [*keys]
    for name in predictors:
        label = naming.predictor_name(name)
        handles.append(Line2D([], [], linestyle="none", label=label, **marks(name)))
    title_in = 0.08 + 0.17 * (title.count("\n") + 1)
    legend_in = 0.165 * -(-len(handles) // columns) + 0.06 if handles else 0.0
    note_in = 0.06 + 0.125 * (note.count("\n") + 1)
    height = panels + title_in + legend_in + note_in
    figure.set_size_inches(width, height)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, note_in / height, 1, panels / height))
    figure.text(0.01, 1 - 0.05 / height, title, ha="left", va="top", fontsize=10, weight="bold", linespacing=1.15)
    figure.text(0.01, 0.04 / height, note, ha="left", va="bottom", fontsize=MINOR_PT - 1, color=MUTED)
    if handles:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0, 1 - title_in / height),
            ncols=columns,
            handletextpad=0.4,
            columnspacing=1.4,
            labelspacing=0.3,
            borderpad=0.15,
        )
    return Picture(**vars(found), figure=figure, data=data, views=views)


def percent_axis(axis: Any, lowest: float = CLIP_LOW_PERCENT, highest: float = 10_000) -> None:
    """The shared error scale: logarithmic percent with plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (lowest * 0.85, highest)})
    ticks = [t for t in (0.1, 1, 10, 100, 1000, 10_000) if lowest * 0.85 <= t <= highest]
    axis.set_ticks(ticks, labels=[f"{t:,g}" for t in ticks])
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def plain_log(axis: Any) -> None:
    """A logarithmic axis that writes 10, 100, 1,000 instead of powers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def round_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 of every decade of a logarithmic axis that is shorter than two."""
    ticks = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
    inside = [tick for tick in ticks if low * 0.98 <= tick <= high * 1.02]
    if len(inside) > 1:
        axis.set_ticks(inside, labels=[f"{tick:,g}" for tick in inside])


def boxes(left: ArrayLike, right: ArrayLike, low: ArrayLike, high: ArrayLike) -> BoxPath:
    """Many boxes as one path."""
    corners = np.stack([left, low, right, low, right, high, left, high, left, low], axis=1).reshape(-1, 2)
    codes = [BoxPath.MOVETO, BoxPath.LINETO, BoxPath.LINETO, BoxPath.LINETO, BoxPath.CLOSEPOLY]
    return BoxPath(corners, np.tile(codes, len(corners) // len(codes)))


def empty_panel(name: str, why: str = NEEDS_ARTIFACT) -> Picture:
    """A small figure that says in words why there is nothing to draw."""
    figure = canvas(1.1)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"{name}: {why}", ha="center", va="center", color=MUTED, transform=axes.transAxes)
    words = f"{name}: {why}."
    return Picture(words, "", words, words, 0, figure, pd.DataFrame({"note": [words]}), why)


def _short(value: float) -> str:
    """A coordinate to a hundredth of a point, a scale to three digits: what no eye tells from the exact one."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) > 1 else f"{value:.3g}"


def _tidy_svg(svg: str, name: str, title: str, alt: str) -> str:
    """The SVG without what draws nothing, ids unique to this figure (a page has several), with title and desc."""
    svg = re.sub(r"<!DOCTYPE.*?>\s*|<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda found: _short(float(found[0])), svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(alt)}</desc>'
    return re.sub(
        r"<svg ([^>]*)>",
        lambda found: f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {found[1]}>\n {words}',
        svg,
        count=1,
    )


def save(picture: Picture, *, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Write the figure as SVG, PDF and PNG, the drawn rows as CSV, and title, caption, words and count as JSON."""
    name = Path(svg).stem
    picture.figure.draw_without_rendering()
    picture.figure.set_layout_engine("none")  # laid out once, not once a format
    for axes in picture.figure.axes:  # the layout's last bits vary between runs, and name the clip paths
        exact = axes.get_position(original=True).bounds
        axes.set_position(Bbox.from_bounds(*(round(edge, 9) for edge in exact)))
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    none = {"CreationDate": None, "Creator": None, "Producer": None, "Title": picture.title}
    # By its canvases: `savefig` would lay out each form anew, half the work. They leave their resolution behind.
    # Drawn in memory: on a full disk matplotlib's PDF writer would fail with words of its own.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        drawn = io.StringIO()
        FigureCanvasSVG(picture.figure).print_svg(drawn, metadata=nothing)
    write_text(svg, _tidy_svg(drawn.getvalue(), name, picture.title, picture.alt))
    picture.figure.set_dpi(DPI)
    whole = io.BytesIO()
    FigureCanvasPdf(picture.figure).print_pdf(whole, metadata=none)
    write_bytes(pdf, whole.getvalue())
    picture.figure.set_dpi(PNG_DPI)
    whole = io.BytesIO()
    FigureCanvasAgg(picture.figure).print_png(whole, metadata={"Software": None})
    write_bytes(png, whole.getvalue())
    write_presented(picture.data, data)
    words: dict[str, Any] = {name: getattr(picture, name) for name in ("title", "caption", "alt", "n")}
    words["source_csv"] = Path(data).name
    if picture.reason:
        words["reason"] = picture.reason
    if picture.views:
        words["views"] = [asdict(view) for view in picture.views]
    write_text(about, json.dumps(words, indent=2, ensure_ascii=False) + "\n")
