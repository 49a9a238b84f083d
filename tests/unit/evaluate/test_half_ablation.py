"""Half precision without a constant: trained again with it, and the constant is back afterwards."""

import numpy as np
import pytest

from tilecast.evaluate import half_ablation as module
from tilecast.evaluate.constants import constants
from tilecast.hardware.device_file import devices
from tilecast.predict.physics import half
from tilecast.predict.train.generations import Rows

pytest.importorskip("torch")
GPUS = ("NVIDIA_L40S", "NVIDIA_H100_80GB_HBM3", "NVIDIA_B200")


def decoding(name: str, count: int = 220) -> Rows:
    """Decoding steps as the physics say, but for a constant."""
    draw = np.random.default_rng(0)
    dims = {"batch": 2.0 ** draw.integers(0, 8, count), "context": np.round(2 ** draw.uniform(7, 15, count))}
    dims |= {"heads": np.full(count, 32.0), "kv_heads": np.full(count, 8.0), "head_dim": np.full(count, 128.0)}
    dims["window"] = np.zeros(count)
    rows = Rows(dims, np.ones(count), np.ones(count, dtype=bool), np.full(count, np.nan))
    rows.measured_ms = rows.physics("decode", "bf16", devices()[name]).base_ms
    return rows


@pytest.mark.slow
def test_what_is_taken_out_is_missed_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {words: module.VARIANTS[words] for words in (module.PRESENT, "TILE_MS", "WARM_ATTENTION")}
    monkeypatch.setattr(module, "VARIANTS", variants)
    before = half.TILE_MS
    groups = {"decode/bf16": {name: decoding(name) for name in GPUS}}
    table = module.half_ablation(groups, devices(), 0, lambda line: None)
    assert before == half.TILE_MS and set(table["family"]) == {"decode"} and set(table["without"]) == set(variants)
    means = table.groupby("without")["mape_percent"].mean()
    assert means[module.PRESENT] < 5 < means["WARM_ATTENTION"]


def test_what_is_taken_out_was_chosen_after_a_look() -> None:
    after = constants().query("chosen == 'after'")[["module", "name"]].apply(tuple, axis=1).tolist()
    held = [key for _, values in module.VARIANTS.values() for key in values]
    assert len(held) == len(module.VARIANTS) - 1 and set(held) <= set(after)
