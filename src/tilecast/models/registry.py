"""A model's configuration: a Hugging Face `config.json`, read and checked without torch or transformers.

A shipped file (data/models/<name>.json) is such a JSON with one more key, `tilecast`: title, source, the
published parameter count, and the class to build per mode where inference and training use different ones. The
artifact's DLmodel_configs are read as they are. Names such as `vit16x12x768` stand for the vision transformers of
the locality study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.limits import check_model
from tilecast.base.names import find, remedy
from tilecast.base.paths import MODELS

# width -> heads, as the locality study's models have them (heads of 64, hidden layer 4 x width, images of 224)
_VIT_HEADS = {128: 4, 256: 8, 512: 8, 768: 12, 1024: 16}
# Models of the Hugging Face hub with the dimensions of a shipped one.
HUB = {
    "openai-community/gpt2": "gpt2", "openai-community/gpt2-large": "gpt2_large", "facebook/opt-1.3b": "opt_13",
    "google-bert/bert-large-uncased": "bert_large", "meta-llama/Llama-2-7b-hf": "llama2_7b",
    "meta-llama/Llama-2-13b-hf": "llama2_13b", "meta-llama/Llama-2-70b-hf": "llama2_70b",
    "meta-llama/Meta-Llama-3-8B": "llama3_8b", "meta-llama/Meta-Llama-3-70B": "llama3_70b",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama3_8b", "meta-llama/Meta-Llama-3-70B-Instruct": "llama3_70b",
    "meta-llama/Llama-3.1-8B": "llama31_8b", "meta-llama/Llama-3.1-8B-Instruct": "llama31_8b",
    "meta-llama/Llama-3.1-70B": "llama31_70b", "meta-llama/Llama-3.1-70B-Instruct": "llama31_70b",
    "mistralai/Mixtral-8x7B-v0.1": "mixtral_8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral_8x7b",
    "Qwen/Qwen3-30B-A3B": "qwen3_30b_a3b", "Qwen/Qwen3-235B-A22B": "qwen3_235b_a22b",
    "deepseek-ai/DeepSeek-V3": "deepseek_v3", "moonshotai/Kimi-K2-Instruct": "kimi_k2",
    "openai/gpt-oss-120b": "gpt_oss_120b", "meta-llama/Llama-4-Maverick-17B-128E-Instruct": "llama4_maverick",
    "google/gemma-3-27b-it": "gemma3_27b", "nvidia/Nemotron-H-56B-Base-8K": "nemotron_h_56b",
    "microsoft/resnet-50": "resnet50", "google/switch-large-128": "switch_large_128",
}  # fmt: skip
LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "n_layers")  # by type of model
_VIT_NAME = re.compile(r"vit(\d{1,9})x(\d{1,9})x(\d{1,9})")


@dataclass(frozen=True)
class ModelSpec:
    """One model: its name, its configuration's keys and values, and what is published about it."""

    name: str
    values: Mapping[str, Any]
    source: str  # the file, or how the configuration came about: what an error message names
    title: str = ""
    parameters: int | None = None  # published count
    architectures: Mapping[str, str] = field(default_factory=dict)  # mode -> class, where modes differ

    def architecture(self, mode: str) -> str | None:
        """The class to build for `mode`; None leaves it to the model type's causal language model."""
        named = self.values.get("architectures") or [None]
        return self.architectures.get(mode, named[0])

    def shortened(self, layers: int) -> ModelSpec:
        """The same model with so many layers; what is listed for each layer is listed for those alone."""
        named: dict[str, Any] = {key: layers for key in LAYER_KEYS if key in self.values}
        stated = {self.values[key] for key in named}
        named |= {
            key: value[:layers]
            for key, value in self.values.items()
            if isinstance(value, list) and len(value) in stated
        }
        return replace(self, values={**self.values, **named})

    @property
    def positions(self) -> int | None:
        """Positions the model has, where its configuration says."""
        values = (self.values.get(key) for key in ("max_position_embeddings", "n_positions"))
        return next((value for value in values if isinstance(value, int)), None)


def model_names(folder: Path = MODELS) -> tuple[str, ...]:
    """Names of the shipped configurations."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def load_model(name_or_path: str | Path) -> ModelSpec:
    """The configuration of a shipped model by name, of a JSON file, or of a folder with a config.json."""
    text = str(name_or_path)
    path = Path(text)
    try:
        folder = path.is_dir()
    except OSError:  # a name longer than a file's may be
        folder = False
    if folder or path.suffix.lower() == ".json":
        return _read(path / "config.json" if folder else path)
    names = model_names()
    if (found := find(text, names, HUB)) is not None:
        return _read(MODELS / f"{found}.json")
    if match := _VIT_NAME.fullmatch(text):
        return _vision_transformer(text, *(int(part) for part in match.groups()))
    otherwise = f"give a config.json, vit<patch>x<depth>x<width>, or one of {', '.join(names)}"
    raise InputError(text, "is no known model", remedy(text, [*names, *HUB], otherwise))


def model_spec(values: Mapping[str, Any], name: str, source: str) -> ModelSpec:
    """Check a configuration mapping; the extra key `tilecast` is taken off it."""
    own = values.get("tilecast", {})
    if not isinstance(own, Mapping):
        raise InputError(source, "`tilecast` is no mapping", "expected title, source, parameters, architectures")
    if not isinstance(values.get("model_type"), str):
        raise InputError(source, "names no `model_type`", 'expected for example "model_type": "llama"')
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise InputError(source, "`architectures` is no list of class names", 'such as ["LlamaForCausalLM"]')
    by_mode, parameters = own.get("architectures", {}), own.get("parameters")
    if not isinstance(by_mode, Mapping) or not all(isinstance(name, str) for name in by_mode.values()):
        raise InputError(source, "`tilecast.architectures` is no mapping of modes to classes", "see data/models")
    if parameters is not None and (type(parameters) not in (int, float) or not 0 < parameters < 10**18):
        raise InputError(source, "`tilecast.parameters` is no count", "give a whole number")
    kept = {key: value for key, value in values.items() if key != "tilecast"}
    check_model(kept, source)
    return ModelSpec(name, kept, source, str(own.get("title", name)), parameters, by_mode)


def _read(path: Path) -> ModelSpec:
    values = read_json(path, f"give a config.json, or one of {', '.join(model_names())}")
    if not isinstance(values, dict):
        raise InputError(path, "is no model configuration", "expected a JSON object with `model_type`")
    return model_spec(values, path.parent.name if path.stem == "config" else path.stem, str(path))


def _vision_transformer(name: str, patch: int, depth: int, width: int) -> ModelSpec:
    if patch == 0 or depth == 0 or width == 0:
        raise InputError(name, "does nothing, so it has no kernels", "patch, depth and width must be above 0")
    if 224 % patch or width % 64:
        raise InputError(name, "is no model", "the patch must divide 224 and the width be a multiple of 64")
    values = {
        "model_type": "tilecast_vit",
        "image_size": 224,
        "patch_size": patch,
        "num_hidden_layers": depth,
        "hidden_size": width,
        "num_attention_heads": _VIT_HEADS.get(width, width // 64),
        "head_dim": 64,
        "intermediate_size": 4 * width,
        "num_labels": 1000,
    }
    check_model(values, name)
    title = f"ViT, patch {patch}, {depth} layers of {width}"
    return ModelSpec(name, values, "vit<patch>x<depth>x<width>", title)
