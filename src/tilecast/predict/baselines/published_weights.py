"""NeuSight as its authors trained it: the artifact's weights in this project's re-implementation.

Below `FOLDER` every family has a config.json and a model.pth: a dictionary whose `model` is a network's state. Its
linear layers lie under bw_utilization_net.layers at every third place, an activation and a dropout between
them; the other parameters belong to no layer that runs.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from tilecast.artifact.lock import Entry, verify
from tilecast.artifact.store import load, parse_json
from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.predict.baselines.neusight import HIDDEN, LAYERS, NeuSight, Profile

FOLDER = "scripts/asplos/data/predictor/MLP_WAVE/"
FAMILIES = {"bmm": "BMM", "linear": "LINEAR", "elementwise": "VEC", "softmax": "SOFTMAX", "norm": "LN"}
_LAYER = "bw_utilization_net.layers."
_SHAPES = [(HIDDEN, 4), *[(HIDDEN, HIDDEN)] * (LAYERS - 2), (3, HIDDEN)]  # of four inputs; alpha, beta, gamma
_BROKEN = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError)


class AuthorsNeuSight(NeuSight):
    """The paper's predictor with its authors' own weights."""

    name = "neusight_weights"
    artifact_figures = True

    @classmethod
    def of_archive(
        cls, archive: str | os.PathLike[str], entries: list[Entry], profiles: Mapping[str, Profile]
    ) -> AuthorsNeuSight | None:
        """Weights of the fetched artifact, each file the one that the lock names; None where it has not all."""
        files, known = load(archive, FOLDER), {entry.path: entry for entry in entries}
        weights = {}
        for family, folder in FAMILIES.items():
            pair = [f"{FOLDER}{folder}/{name}" for name in ("config.json", "model.pth")]
            if not all(path in files and path in known for path in pair):
                return None
            config, state = (verify(known[path], files[path]) for path in pair)
            _check(pair[0], config)
            weights[family] = _network(pair[1], state)
        return cls(weights, profiles)


def _check(path: str, data: bytes) -> None:
    """Refuse a network of another kind than the re-implementation computes."""
    config = parse_json(path, data, ("num_layers", "hidden_size"))
    expected = {"arch": "MLP", "act": "relu", "num_layers": LAYERS, "hidden_size": HIDDEN}
    for name, value in expected.items():
        if config.get(name) != value:
            raise InputError(path, f"`{name}` = {config.get(name)!r}, the paper's network has {value!r}")


def _network(path: str, data: bytes) -> dict[str, Array]:
    """The linear layers of a checkpoint, under the names that `evaluate_network` reads."""
    import torch

    try:
        state: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)["model"]
        layers = {
            f"{place}.{part}": np.asarray(state[f"{_LAYER}{3 * place}.{part}"].numpy(), np.float32)
            for place in range(LAYERS)
            for part in ("weight", "bias")
        }
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"holds no weights of the paper's network ({reason[:120]})") from None
    for place, shape in enumerate(_SHAPES):
        if layers[f"{place}.weight"].shape != shape or layers[f"{place}.bias"].shape != shape[:1]:
            raise InputError(path, f"layer {place} has the shape {layers[f'{place}.weight'].shape}, not {shape}")
    return layers
