"""The fewest GPUs, or dollars, that serve a rate of requests within latency targets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tilecast.api import compare as beside
from tilecast.api import serve
from tilecast.api import work as asked
from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.text import short, text_table
from tilecast.base.errors import InputError
from tilecast.base.paths import PRICES
from tilecast.hardware.price import load_prices
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.serving.engines import ENGINES, Engine
from tilecast.serving.engines import engine as load_engine

if TYPE_CHECKING:
    from tilecast.serving.deployment import Deployment


class Recommendation(Answer):
    """Deployments that keep the targets, the best first, and the command that starts a server of it."""

    schema = "tilecast.recommend/1"

    @property
    def fits(self) -> bool:
        """Whether any deployment keeps the targets."""
        return bool(self.values["deployments"])

    def rows(self) -> list[dict[str, Any]]:
        """A row a deployment."""
        return list(self.values["deployments"])

    def text(self) -> str:
        """A table and the launch commands of the best."""
        found = self.values
        if not self.fits:
            return f"{found['model']}: no deployment on these GPUs keeps the targets"
        heads = {"GPUs": ">", "servers": "<", "format": "<", "TTFT ms": ">", "TPOT ms": ">", "$/hour": ">"}
        lines = [
            [
                f"{row['gpus']:,} x {row['device']}", f"{row['servers']:,} of tp {row['tp']}", row["dtype"],
                short(row["ttft_ms"], 3), short(row["tpot_ms"], 3),
                "no price" if row["usd_per_hour"] is None else short(row["usd_per_hour"]), row["known"],
            ]
            for row in found["deployments"]
        ]  # fmt: skip
        commands = [f"{name:<13}{command}" for name, command in found["launch"].items()]
        title = f"{found['model']} at {found['rate_per_s']:g} requests/s, fewest {found['objective']} first"
        return "\n".join([title, "", *text_table({**heads, "kernels": "<"}, lines, gap="  "), "", *commands])


def _by(deployment: Deployment, engine: Engine) -> Deployment:
    """The deployment by another engine's defaults."""
    return replace(deployment, batching=engine.batching, memory_share=engine.memory_share)


@question
def recommend(
    model: asked.Model,
    devices: beside.Devices,
    rate: Annotated[float, Option("requests that come in a second, at random", metavar="PER_S")],
    *,
    objective: Annotated[Literal["gpus", "dollars"], Option("of what there should be fewest")] = "gpus",
    formats: beside.Dtypes = None,
    weight_dtype: asked.WeightFormat = None,
    kv_dtype: asked.CacheFormat = None,
    engine: serve.Engine = "vllm",
    input: beside.Input = "1024",
    output: beside.Output = "256",
    ttft_ms: beside.Ttft = None,
    tpot_ms: beside.Tpot = None,
    prices: asked.PriceFile = None,
) -> Recommendation:
    """The fewest GPUs, or dollars, that serve a rate within latency targets, and the commands that start them."""
    if not 0 < rate < 1e6:
        raise InputError("--rate", f"{rate:g} is no rate", "expected above 0, below 1,000,000")
    known, serves = load_prices(prices or PRICES), load_engine(engine)
    shape = equal_layers(load_model(model))
    gpus, dtypes, load, bounds = beside.asked_of(
        devices, formats, (weight_dtype, kv_dtype), input, output, ttft_ms=ttft_ms, tpot_ms=tpot_ms
    )
    from tilecast.planner.compare import recommended
    from tilecast.planner.launch import server

    load = replace(load, rate_per_s=rate)
    found = [
        one
        for gpu in gpus
        for dtype in dtypes
        for one in recommended(shape, gpu, dtype, serves, load, known, bounds)
        if objective == "gpus" or one["usd_per_hour"] is not None
    ]
    price = "usd_per_hour" if objective == "dollars" else "gpus"
    found.sort(key=lambda one: (one[price], one["gpus"], one["tpot_ms"]))
    deployments = [one.pop("deployment") for one in found]
    launch = {}
    if found:
        most = max(1, int(found[0]["clients"] or 1))
        launch = {
            ENGINES[name].title: server(name, model, _by(deployments[0], one), most)
            for name, one in ENGINES.items()
        }
    asked_for = {"model": model, "rate_per_s": rate, "objective": objective, "bounds": bounds}
    return Recommendation({**asked_for, "engine": serves.title, "deployments": found, "launch": launch})
