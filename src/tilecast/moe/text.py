"""The study as text: a summary of each system, the log of the analysis, a paragraph for a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tilecast.moe.names import MODES, STRATEGIES
from tilecast.tables.naming import significant

_HEAD = (
    "| Reading | Strategy | GPUs as | Experts | Baseline tok/s | Prophet tok/s | Speedup | Low to high "
    "| Communication | Waiting for the host | $ per 1M tokens | Saving a year | of whole clusters |"
)


def summary(table: pd.DataFrame, system: str) -> str:
    """The file `SUMMARY_<system>.md`: every strategy in the three readings, then why each fits or does not."""
    rows = table[table["system"] == system].to_dict("records")
    lines = [f"# {system}: expert parallelism with and without a prefetcher", "", _HEAD, "|" + "---|" * 13]
    for row in rows:
        cells = (
            MODES[row["mode"]],
            STRATEGIES[row["strategy"]],
            row["spread"],
            row["verdict"],
            number(row["baseline_tokens_per_s"]),
            number(row["prophet_tokens_per_s"]),
            number(row["speedup"], "x"),
            _ends(row),
            _change(row, "communication_percent", "%"),
            _change(row, "waiting_percent", "%"),
            _change(row, "usd_per_million_tokens"),
            number(row["saving_usd_per_year"]),
            number(row["reserved_saving_usd_per_year"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Where the experts lie", ""]
    for row in rows:
        if row["mode"] == "physical":
            lines.append(f"- {STRATEGIES[row['strategy']]} ({row['spread']}): {row['reason']}.")
    return "\n".join(lines).replace("<", "&lt;") + "\n"  # a name is text in Markdown too


def console(table: pd.DataFrame, title: str) -> str:
    """What the guide's second step prints: performance of each system, cost, savings, findings, the log's end."""
    heads = ["tokens/s", "speedup", "low to high", "communication %", "less", "waiting %"]
    heads += ["$ per 1M tokens", "saved a year"]
    about = "baseline to Prophet; waiting: for experts from the host; saved: by the price of twelve months' tokens"
    lines = [title, about, ""]
    for system, rows in table.groupby("system", sort=False):
        shown = [(str(system), "reading", *heads)]
        notes = []
        for row in rows.to_dict("records"):
            place = (f"  {STRATEGIES[row['strategy']]} ({row['spread']})", MODES[row["mode"]].lower())
            if row["verdict"] == "impossible":
                shown.append((*place, "cannot run", *("",) * 7))
            else:
                rates = _change(row, "tokens_per_s")
                sent, waiting = _change(row, "communication_percent"), _change(row, "waiting_percent")
                cost, saved = _change(row, "usd_per_million_tokens"), f"${number(row['saving_usd_per_year'])}"
                gain, ends = number(row["speedup"], "x"), _ends(row)
                less = number(row["communication_reduction"], "x")
                shown.append((*place, rates, gain, ends, sent, less, waiting, cost, saved))
            if row["mode"] == "physical":
                notes.append(f"  {STRATEGIES[row['strategy']]}: {row['reason']}")
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for cells in shown:
            padded = [cell.replace("none", "-").ljust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
        lines += [*notes, ""]
    ran = table.dropna(subset=["speedup"])
    lines.append("Key findings")
    for mode, rows in ran.groupby("mode", sort=False):
        best, cheap = rows.sort_values("speedup").iloc[-1], rows.sort_values(_PROPHET).iloc[0]
        lines.append(
            f"  {MODES[str(mode)].lower()}: largest speedup {number(best['speedup'], 'x')} ({_place(best)}), "
            f"cheapest ${number(cheap[_PROPHET])} per 1M tokens ({_place(cheap)})"
        )
    return "\n".join([*lines, "", "Last lines of the log", *log(table, title, []).splitlines()[-20:]])


_PROPHET = "prophet_usd_per_million_tokens"


def _place(row: Any) -> str:
    return f"{row['system']}, {STRATEGIES[row['strategy']]}"


def log(table: pd.DataFrame, title: str, written: list[str]) -> str:
    """The log of the analysis: results, what cannot run and why, and the files written."""
    lines = [f"INFO {title}"]
    for row in table.to_dict("records"):
        head = f"{row['system']} {STRATEGIES[row['strategy']]} ({row['mode']}, {row['spread']})"
        if row["verdict"] == "impossible":
            lines.append(f"WARNING {head}: cannot run: {row['reason']}")
        else:
            rates = f"{number(row['baseline_tokens_per_s'])} -> {number(row['prophet_tokens_per_s'])} tok/s"
            lines.append(f"INFO {head}: {rates}, {number(row['speedup'], 'x')}, {row['verdict']}")
    lines += [f"INFO wrote {name}" for name in written]
    impossible = int((table["verdict"] == "impossible").sum())
    ending = f"{len(table)} strategies analysed, {impossible} cannot run"
    return "\n".join([*lines, f"ANALYSIS COMPLETED SUCCESSFULLY: {ending}"]) + "\n"


def paragraph(template: str | Path, table: pd.DataFrame, validation: pd.DataFrame, focus: str) -> str:
    """The paragraph for a paper: the LaTeX `template` filled from the tables."""
    path = Path(template)
    engine = Environment(  # LaTeX: braces and percent signs have a meaning of their own
        loader=FileSystemLoader(path.parent),
        undefined=StrictUndefined,
        autoescape=False,  # numbers and names of the checked study
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters["number"] = number
    rows: dict[str, dict[str, Any]] = {mode: {} for mode in MODES}
    for row in table[table["system"] == focus].to_dict("records"):
        rows[row["mode"]][row["strategy"]] = row
    physical = table[table["mode"] == "physical"]
    nvlink = validation[(validation["links"] == "NVLink") & (validation["kernel"] == "all")]
    return engine.get_template(path.name).render(
        focus=focus.replace("_", r"\_"),
        published=rows["as_published"],
        physical=rows["physical"],
        systems=int(table["system"].nunique()),
        strategies=len(physical),
        resident=int((physical["verdict"] == "resident").sum()),
        impossible=int((physical["verdict"] == "impossible").sum()),
        best=physical["speedup"].max(),
        exchange_error=float(nvlink[nvlink["sizes"] == "in use"]["mape_percent"].iloc[0]),
    )


def number(value: Any, unit: str = "") -> str:
    """A number with three significant digits; `none` where there is none."""
    if value is None or math.isnan(value):
        return "none"
    return f"{significant(value) if value else 0}{unit}"


def _ends(row: Mapping[Any, Any]) -> str:
    low = number(row["speedup_low"])
    return low if low == "none" else f"{low} to {number(row['speedup_high'])}x"


def _change(row: Mapping[Any, Any], column: str, unit: str = "") -> str:
    before = number(row[f"baseline_{column}"])
    return before if before == "none" else f"{before} to {number(row[f'prophet_{column}'])}{unit}"
