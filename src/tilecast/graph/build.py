"""A model built from its configuration on the meta device: shapes and code, no weights, no downloads."""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tilecast.base.errors import InputError, Unfused
from tilecast.graph.experts import register
from tilecast.graph.operations import register_attention
from tilecast.graph.vit import VisionTransformer
from tilecast.models.registry import ModelSpec

# Keys that every class takes without listing them.
_TAKEN = {"torch_dtype", "auto_map", "rope_theta", "rope_scaling", "_name_or_path", "transformers_version",
          "head_dim", "image_size"}  # fmt: skip

_SAME = {"kimi_k2": "deepseek_v3"}  # a type that transformers knows by another name
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Within: transformers asks no network and prints no advice."""
    before = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_VERBOSITY")}
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def build(spec: ModelSpec, mode: str, dtype: str, attention: str, device: str = "meta") -> nn.Module:
    """The model of `spec` in `dtype`, attention as separate operations or one call; on device meta for tracing.

    On a real device it has random weights and routes tokens to experts as transformers does.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])
    try:
        with torch.device(device), offline():
            if spec.values["model_type"] == "tilecast_vit":
                return VisionTransformer(spec.values)
            return _hugging_face(spec, mode, attention, traced=device == "meta")
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a model class raises on values it was not written for
        problem = str(error).split("\n")[0] or type(error).__name__
        raise InputError(spec.source, f"no model can be built from it ({problem})", "check its values") from None
    finally:
        torch.set_default_dtype(before)


def configuration(spec: ModelSpec) -> Any:
    """The transformers configuration object of `spec`."""
    try:
        import transformers
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError:
        raise InputError(spec.source, "needs transformers", 'pip install "tilecast[torch]"') from None
    kind = _SAME.get(spec.values["model_type"], spec.values["model_type"])
    if kind not in CONFIG_MAPPING:
        raise InputError(
            spec.source, f"model_type {kind!r} is unknown to transformers {transformers.__version__}",
            "give an nn.Module instead (--module package.module:factory)",
        )  # fmt: skip
    return CONFIG_MAPPING[kind](**copy.deepcopy({k: v for k, v in spec.values.items() if k != "model_type"}))


def unknown_keys(spec: ModelSpec) -> list[str]:
    """Keys of the configuration that its class does not know: a misspelt one must not pass for a default."""
    if spec.values["model_type"] == "tilecast_vit":
        return []
    with offline():
        known_class = type(configuration(spec))
        known = set(known_class().to_dict()) | set(getattr(known_class, "attribute_map", {})) | _TAKEN
    return sorted(key for key in set(spec.values) - known if not hasattr(known_class, key))


def _hugging_face(spec: ModelSpec, mode: str, attention: str, traced: bool) -> nn.Module:
    import transformers

    config = configuration(spec)
    name = spec.architecture(mode)
    if name is None:
        found = transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        found = found or transformers.MODEL_MAPPING.get(type(config), None)
    else:
        found = getattr(transformers, name, None)
    if not (inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel)):
        raise InputError(spec.source, f"{name!r} is no model class of transformers", "check `architectures`")
    config.use_cache = False
    fused = attention == "fused"
    alone = fused and not getattr(found, "_supports_sdpa", False)
    if alone and not getattr(found, "_supports_attention_backend", False):
        problem = f"{found.__name__} of transformers has no attention in one kernel"
        raise Unfused(spec.source, problem, "leave --attention fused out")
    config._attn_implementation = register_attention() if alone else "sdpa" if fused else "eager"
    if traced and (experts := register()):
        config._experts_implementation = experts
    build_model: Any = found
    return build_model(config)
