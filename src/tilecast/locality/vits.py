"""The vision transformers of the locality study, by their names; free of pydantic, as a borrowed host is."""

from __future__ import annotations

import re
from dataclasses import replace

from tilecast.base.errors import InputError
from tilecast.locality.guide import NO_OP
from tilecast.models.registry import ModelSpec, load_model

_MODEL = re.compile(r"vit(\d+)x(\d+)x(\d+)")


def vit(name: str, heads: int | None = None) -> ModelSpec | None:
    """The configuration of `vit{patch}x{depth}x{width}`, with as many heads as given; None for the no-op."""
    if not _MODEL.fullmatch(name):
        raise InputError(name, "does not parse", "expected vit{patch}x{depth}x{width}, such as vit32x6x512")
    if name == NO_OP:
        return None
    spec = load_model(name)
    return replace(spec, values={**spec.values, "num_attention_heads": heads}) if heads else spec
