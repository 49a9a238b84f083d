"""The authors' weights as their artifact keeps them: executed, or refused; weights of our own in their layout."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from tilecast.artifact.lock import Entry, blob_id
from tilecast.base.errors import InputError
from tilecast.evaluate.same_weights import agreement, same_weights
from tilecast.hardware.device_file import load_device
from tilecast.predict.baselines.neusight import NeuSight
from tilecast.predict.baselines.published_weights import FAMILIES, FOLDER, AuthorsNeuSight
from tilecast.predict.kernel import complete
from tilecast.predict.registry import load_predictor

CONFIG = {"architecture": "MLP_WAVE_MM", "arch": "MLP", "act": "relu", "num_layers": 8, "hidden_size": 512}
KERNELS = pd.DataFrame(
    [
        {"family": "linear", "op": "linear", "b": 1, "m": 512, "n": 1024, "k": 4096},
        {"family": "bmm", "op": "bmm", "b": 64, "m": 512, "n": 512, "k": 64},
        *({"family": "elementwise", "op": op, "b": 4096, "m": 4096} for op in ("add", "gelu")),
        {"family": "softmax", "op": "softmax", "b": 8192, "m": 512},
        {"family": "norm", "op": "ln", "b": 4096, "m": 1024},
    ]
)


@pytest.fixture(scope="module")
def ours() -> NeuSight:
    model = load_predictor("neusight")
    assert isinstance(model, NeuSight)
    return model


def checkpoint(weights: dict) -> bytes:
    """A network's layers as the authors' trainer saves them, with the parameters that nothing uses."""
    layers = {
        f"bw_utilization_net.layers.{3 * int(n.split('.')[0])}.{n.split('.')[1]}": a for n, a in weights.items()
    }
    state = {"bias": torch.ones(1), "prelu.weight": torch.ones(1)}
    file = io.BytesIO()
    torch.save({"model": state | {name: torch.tensor(array) for name, array in layers.items()}}, file)
    return file.getvalue()


def archived(ours: NeuSight, tmp_path, **changes: bytes | None):
    """An archive with our weights in the authors' layout, and its lock; a family of None is left out."""
    files = {}
    for family, folder in FAMILIES.items():
        files[f"{FOLDER}{folder}/config.json"] = json.dumps(CONFIG).encode()
        files[f"{FOLDER}{folder}/model.pth"] = changes.get(family, b"") or checkpoint(dict(ours.weights[family]))
        if family in changes and changes[family] is None:
            del files[f"{FOLDER}{folder}/model.pth"]
    with zipfile.ZipFile(tmp_path / "artifact.zip", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    entries = [Entry(path, blob_id(data), len(data)) for path, data in files.items()]
    return tmp_path / "artifact.zip", entries


def test_same_weights_same_predictions(ours, tmp_path):
    model = AuthorsNeuSight.of_archive(*archived(ours, tmp_path), ours.profiles)
    for name in ("V100", "H100"):
        kernels = complete(KERNELS)
        expected, found = (one.predict(kernels, load_device(name))["latency_ms"] for one in (ours, model))
        assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_where_one_family_is_absent_nothing_is_executed(ours, tmp_path):
    assert AuthorsNeuSight.of_archive(*archived(ours, tmp_path, bmm=None), ours.profiles) is None


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_weights_that_are_none_are_refused_and_never_executed(ours, tmp_path):
    evil = io.BytesIO()
    torch.save({"model": Evil()}, evil)
    small = checkpoint({n: a[:3, :3] if a.ndim == 2 else a[:3] for n, a in ours.weights["norm"].items()})
    few = checkpoint({n: a for n, a in ours.weights["norm"].items() if not n.startswith("7")})
    for bad in (evil.getvalue(), b"no pickle", small, few):
        with pytest.raises(InputError, match=r"LN/model.pth: (holds no weights|layer 0 has the shape)"):
            AuthorsNeuSight.of_archive(*archived(ours, tmp_path, norm=bad), ours.profiles)


def test_a_file_that_is_not_the_locks_is_refused(ours, tmp_path):
    archive, entries = archived(ours, tmp_path)
    other = [entry._replace(blob="0" * 40) if "SOFTMAX/model" in entry.path else entry for entry in entries]
    with pytest.raises(InputError, match=r"SOFTMAX/model.pth: has git blob id"):
        AuthorsNeuSight.of_archive(archive, other, ours.profiles)


def test_a_network_of_another_kind_is_refused(ours, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIG, "act", "gelu")
    with pytest.raises(InputError, match="`act` = 'gelu', the paper's network has 'relu'"):
        AuthorsNeuSight.of_archive(*archived(ours, tmp_path), ours.profiles)


def test_cells_of_both_are_compared():
    cell = {"model": "m", "mode": "inference", "sequence_length": 8, "batch_size": 1, "option": "none"}
    names = ("Tesla_T4", "Tesla_P4", "NVIDIA_L4")
    stored = pd.DataFrame(
        [cell | {"device": n, "predictor": "neusight_published", "latency_ms": 2.0} for n in names]
    )
    executed = pd.DataFrame([cell | {"device": n, "latency_ms": ms} for n, ms in zip(names[:2], (2.001, 2.5))])
    table = same_weights(stored, executed)
    assert np.allclose(sorted(table["difference_percent"]), [0.05, 25])
    assert agreement(table) == (
        "the authors' weights executed in 2 cells: 1 within 0.1 %, 1 within 1 %, 1 within 10 %; worst 25 %"
    )
    assert "has not all" in agreement(table.head(0))
