"""How the parts of a step and of a GPU's memory are named and coloured: alike things share a colour."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.patches import Patch

# colour -> (parts of the time, their name; parts of the memory, their name)
PARTS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], str]] = {
    "#0072B2": (("compute",), "kernels", ("weights",), "weights"),
    "#D55E00": (("tp",), "tensor parallel", ("activations",), "activations"),
    "#E69F00": (("dp",), "gradients", ("gradients",), "gradients"),
    "#009E73": (("optimizer",), "optimizer", ("optimizer",), "its states"),
    "#F0E442": (("pp",), "between stages", ("buffers",), "buffers"),
    "#C4C4C4": (("bubble", "other stages"), "bubble", ("context",), "driver"),
    "#56B4E9": (("recompute",), "recomputing", ("kv_cache",), "keys, values"),
    "#CC79A7": (("ep",), "experts", ("logits",), "logits"),
    "#3D3D3D": (("host",), "waiting for the host", (), ""),
    "#8C564B": (("cp",), "context parallel", ("fragmentation",), "lost by allocator"),
}


def keys(time: Iterable[str], memory: Iterable[str]) -> list[Patch]:
    """The legend of the parts shown: `time | memory` of each colour."""
    times, held = set(time), set(memory)
    found = []
    for colour, (of_time, time_word, of_memory, memory_word) in PARTS.items():
        words = [word for parts, word, shown in ((of_time, time_word, times), (of_memory, memory_word, held))
                 if shown & set(parts)]  # fmt: skip
        if words:
            bare = "| " if len(words) == 1 and words[0] == memory_word and not times & set(of_time) else ""
            found.append(Patch(facecolor=colour, edgecolor="white", label=bare + " | ".join(words)))
    return found
