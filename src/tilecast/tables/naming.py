"""How things are shown to people: names, order and colours of devices, models, predictors; digits of a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

# Every mapping's order is the order of presentation. Devices: the five the paper's predictors were trained on,
# oldest first, then the held-out ones, then AMD's.
DEVICES: dict[str, str] = {
    "Tesla_P4": "P4",
    "Tesla_P100-PCIE-16GB": "P100",
    "Tesla_T4": "T4",
    "Tesla_V100-PCIE-32GB": "V100",
    "NVIDIA_A100-PCIE-40GB": "A100-40GB",
    "NVIDIA_A100-SXM4-40GB": "A100-SXM",
    "NVIDIA_A100_80GB_PCIe": "A100-80GB",
    "NVIDIA_L4": "L4",
    "NVIDIA_H100_80GB_HBM3": "H100",
    "AMD_Instinct_MI100": "MI100",
    "AMD_Instinct_MI210": "MI210",
    "AMD_Instinct_MI250": "MI250",
}

MODELS: dict[str, str] = {
    "bert_large": "BERT-Large",
    "gpt2_large": "GPT2-Large",
    "gpt3_xl": "GPT3-XL",
    "opt_13": "OPT-1.3B",
    "gpt3_27": "GPT3-2.7B",
    "switchxl4": "SwitchTrans",
    "switch4": "SwitchTrans (switch4)",
}

# `_published`: the authors' own predictions, as their artifact holds them; without: computed by this project.
TWINS = ("roofline", "li")  # formulas and linear models: recomputed here, they come to the authors' own figures
PREDICTORS: dict[str, str] = {
    "roofline_published": "Roofline (authors)",
    "habitat_published": "Habitat (authors)",
    "li_published": "Li et al. (authors)",
    "neusight_published": "NeuSight (authors)",
    "roofline": "Roofline (ours)",
    "habitat": "Habitat (ours)",
    "li": "Li et al. (ours)",
    "neusight": "NeuSight (ours)",
    "tilecast": "Tilecast",
}
# Simple forecasts, fitted on the kernels that Tilecast is trained on.
RIVALS: dict[str, str] = {
    "line": "Launch + FLOPs / a + bytes / b",
    "efficiencies": "Roofline, two efficiencies",
    "nearest": "Same shape, nearest GPU",
    "grid": "Same shape, other GPUs",
}

FAMILIES: dict[str, str] = {
    "bmm": "Batched matmul",
    "linear": "Linear",
    "elementwise": "Elementwise",
    "softmax": "Softmax",
    "norm": "Layer norm",
    "memory": "Memory",
    "attention": "Attention",
    "conv": "Convolution",
    "other": "Other",
}

OPTIONS: dict[str, str] = {
    "none": "plain",
    "fusion": "fused",
    "dp4": "data parallel ×4",
    "tp4": "tensor parallel ×4",
    "pp4_1": "pipeline parallel ×4, 1 microbatch",
    "pp4_4": "pipeline parallel ×4, 4 microbatches",
}
OPTIONS_SHORT: dict[str, str] = {
    "none": "plain",
    "fusion": "fused",
    "dp4": "DP4",
    "tp4": "TP4",
    "pp4_1": "PP4",
    "pp4_4": "PP4/4",
}

MODES: dict[str, str] = {"inference": "Inference", "training": "Training"}
DISTRIBUTIONS: dict[str, str] = {"in": "in distribution", "out": "out of distribution"}

# Okabe and Ito's colours (and their grey): one hue a method, whoever computed it; marker and hatch tell who did.
METHOD_COLOURS: dict[str, str] = {
    "roofline": "#999999",
    "habitat": "#E69F00",
    "li": "#CC79A7",
    "neusight": "#0072B2",
    "tilecast": "#D55E00",
}
SPARE_COLOURS = ("#009E73", "#56B4E9", "#F0E442")


def display(names: Mapping[str, str], key: str) -> str:
    """The name for people, or the key itself where it is not known."""
    return names.get(key, key)


def device_name(device: str) -> str:
    """Short name of a device."""
    return DEVICES.get(device, device)


def model_name(model: str) -> str:
    """Display name of a model."""
    return MODELS.get(model, model)


def predictor_name(predictor: str) -> str:
    """Display name of a predictor, saying whose numbers they are."""
    return PREDICTORS.get(predictor, predictor)


def ordered(names: Mapping[str, str], keys: Iterable[str]) -> list[str]:
    """The distinct keys in order of presentation; unknown ones last, by alphabet."""
    rank = {name: place for place, name in enumerate(names)}
    return sorted(set(keys), key=lambda key: (rank.get(key, len(rank)), key))


def vendor(device: str) -> str:
    """Maker of the device by its folder name: AMD or NVIDIA."""
    return "AMD" if device.upper().startswith("AMD") else "NVIDIA"


def method(predictor: str) -> str:
    """The method behind a predictor, whoever computed it."""
    return predictor.removesuffix("_published")


def is_published(predictor: str) -> bool:
    """Whether the numbers are the authors' own."""
    return predictor.endswith("_published")


def distinct(predictors: Iterable[str]) -> list[str]:
    """The predictors in order, without those computed here that repeat the authors' figures digit by digit."""
    given = ordered(PREDICTORS, predictors)
    return [name for name in given if name not in TWINS or f"{name}_published" not in given]


def colour(predictor: str) -> str:
    """The one colour of a predictor; an unknown one keeps the same spare colour wherever it appears."""
    name = method(predictor)
    return METHOD_COLOURS.get(name) or SPARE_COLOURS[sum(name.encode()) % len(SPARE_COLOURS)]


def significant(value: float, digits: int = 3) -> str:
    """The number with that many significant digits in plain notation: 5.87, 12.9, 937, 5,245."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return f"{0:.{digits - 1}f}"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"
