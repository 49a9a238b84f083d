"""The workflow's rules as one picture: `snakemake --rulegraph | python tests/support/dag.py | dot -Tsvg`.

Rules of one stage have a frame; the figures are one box, and so are the paper tables; an arrow that a longer way
implies is left out.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

STAGES = {  # what a rule's name begins with -> its stage and colour
    "fetch tidy": ("artifact", "#0072B2"),
    "graph": ("kernel lists", "#56B4E9"),
    "predict": ("forecasts", "#009E73"),
    "evaluate audit": ("evaluation", "#D55E00"),
    "half": ("half precision", "#CC79A7"),
    "measure": ("this machine", "#999999"),
    "multigpu": ("many GPUs", "#E69F00"),
    "moe": ("experts", "#B8A000"),
    "locality": ("locality", "#7B5EA7"),
    "figures paper table report manifest": ("report", "#444444"),
}
FOLDED = {r"plot_(?!moe_study)\w+": "figures", r"table_(?!pdf)\w+": "paper tables"}
TARGET = "all"


def folded(rule: str) -> str:
    """The box of a rule."""
    return next((box for pattern, box in FOLDED.items() if re.fullmatch(pattern, rule)), rule)


def reduced(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that no longer way implies; there is no circle among them."""
    after: dict[str, set[str]] = {}
    for start, end in arrows:
        after.setdefault(start, set()).add(end)

    def reached(box: str) -> set[str]:
        return set().union(*({end} | reached(end) for end in after.get(box, ())))

    far = {box: set().union(*map(reached, ends)) for box, ends in after.items()}
    return {(start, end) for start, end in arrows if end not in far[start]}


def drawing(rulegraph: str) -> str:
    """Snakemake's graph of rules as a calmer one."""
    rules = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', rulegraph, re.MULTILINE))
    boxes = {number: folded(rule) for number, rule in rules.items() if rule != TARGET}
    drawn = re.findall(r"^\s*(\d+) -> (\d+)", rulegraph, re.MULTILINE)
    pairs = {(boxes[start], boxes[end]) for start, end in drawn if start in boxes and end in boxes}
    counts = Counter(boxes.values())
    lines = [
        "digraph workflow {",
        'graph [rankdir=LR, bgcolor=white, fontname="Helvetica", ranksep=0.55, nodesep=0.14, newrank=true];',
        'node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica", fontsize=11];',
        'node [height=0.28, margin="0.10,0.04", penwidth=1.3];',
        'edge [color="#9a9a9a", arrowsize=0.55, penwidth=0.9];',
    ]
    for starts, (stage, colour) in STAGES.items():
        of_stage = [box for box in sorted(counts) if re.match(rf"({starts.replace(' ', '|')})", box)]
        lines.append(
            f'subgraph "cluster_{stage}" {{ label="{stage}"; labeljust=l; fontsize=12; fontcolor="{colour}"; '
        )
        lines.append(f'style="rounded"; color="{colour}"; penwidth=0.8; margin=8; node [color="{colour}"];')
        for box in of_stage:
            many = f" ({counts[box]})" if counts[box] > 1 else ""
            lines.append(f'"{box}" [label="{box.replace("_", " ")}{many}"];')
        lines.append("}")
    lines += [f'"{start}" -> "{end}";' for start, end in sorted(reduced({p for p in pairs if p[0] != p[1]}))]
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    print(drawing(sys.stdin.read()))
