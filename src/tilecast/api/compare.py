"""Models, GPUs and number formats side by side, as served; and the fewest GPUs or dollars for a rate."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, get_args

from tilecast.api import work as asked
from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.serve import Engine, Format, stored
from tilecast.api.text import short, text_table
from tilecast.base.errors import InputError
from tilecast.base.names import chosen
from tilecast.base.paths import PRICES
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.serving.engines import engine as load_engine
from tilecast.serving.load import Lengths, Load

if TYPE_CHECKING:
    from tilecast.serving.passes import Formats

Devices = Annotated[list[str], Option("GPUs, as H100 H200 B200", metavar="GPU", several="+")]
Dtypes = Annotated[
    list[str] | None, Option("bf16, fp8, fp8_block, nvfp4, mxfp4 (default: bf16)", metavar="FORMAT", several="+")
]
Input = Annotated[str | int, Option("tokens of prompts, as in `tilecast serve`", metavar="TOKENS")]
Output = Annotated[str | int, Option("tokens of answers, likewise", metavar="TOKENS")]
Ttft = Annotated[float | None, Option("bound on the mean time to first token")]
Tpot = Annotated[float | None, Option("bound on the mean time per output token")]
MOST = 200  # rows of one comparison


class Comparison(Answer):
    """A row a model, GPU and format."""

    schema = "tilecast.compare/2"

    @property
    def fits(self) -> bool:
        """Whether any of them can serve."""
        return any(row["gpus"] for row in self.values["rows"])

    def rows(self) -> list[dict[str, Any]]:
        """The rows, in the order asked."""
        return list(self.values["rows"])

    def text(self) -> str:
        """A table."""
        heads = {"model": "<", "GPUs": "<", "format": "<", "clients": ">", "TTFT ms": ">", "TPOT ms": ">"}
        heads |= {"tokens/s": ">", "$/1M tokens": ">", "J/token": ">", "kernels": "<"}
        lines = []
        for row in self.values["rows"]:
            start = [row["model"], f"{row['gpus'] or '-'} x {row['device']}", row["dtype"]]
            if not row["gpus"]:
                lines.append([*start, *["-"] * 6, row["why_not"]])
                continue
            paid, joules = row["usd_per_million_tokens"], row["joules_per_token"]
            lines.append(
                [*start, f"{row['clients']:,}", *(short(row[name]["mean"], 3) for name in ("ttft_ms", "tpot_ms"))]
                + [short(row["output_tokens_per_s"]["mean"], 3), short(paid["mean"], 3) if paid else "no price"]
                + [short(joules["mean"], 3) if joules else "not known", row["known"]]
            )
        about = "the smallest server of 1 to 8 GPUs that holds each, at its number of clients with most tokens/s"
        return "\n".join([*text_table(heads, lines, gap="  "), "", about])


def asked_of(
    devices: list[str],
    formats: list[str] | None,
    parts: tuple[str | None, str | None],
    input: str | int,
    output: str | int,
    **bounds: float | None,
) -> tuple[list[Any], list[Formats], Load, dict[str, float]]:
    """GPUs, formats (`parts`: of weights alone and of the cache), load and bounds of a comparison, checked."""
    load = Load(Lengths.parse(str(input), "--input"), Lengths.parse(str(output), "--output", least=2))
    kept = {name: most for name, most in bounds.items() if most is not None}
    for name, most in kept.items():
        if not 0 < most < 1e15:
            raise InputError("--" + name.replace("_", "-"), f"{most:g} is no number above zero")
    names = [stored(chosen(name, get_args(Format), "--formats")) for name in formats or ["bf16"]]
    gpus, (weights, cache) = [load_device(name) for name in devices], parts
    from tilecast.serving.passes import Formats  # numpy, once the arguments stand

    return gpus, [Formats(name, name, cache or "bf16", weights or "") for name in names], load, kept


@question
def compare(
    models: Annotated[list[str], Option("models, as in `tilecast forecast`", metavar="MODEL", several="+")],
    devices: Devices,
    formats: Dtypes = None,
    *,
    weight_dtype: asked.WeightFormat = None,
    kv_dtype: asked.CacheFormat = None,
    engine: Engine = "vllm",
    input: Input = "1024",
    output: Output = "256",
    ttft_ms: Ttft = None,
    tpot_ms: Tpot = None,
    prices: asked.PriceFile = None,
) -> Comparison:
    """Models, GPUs and number formats side by side: latency, fit, dollars, energy, how well each is known."""
    known, serves = load_prices(prices or PRICES), load_engine(engine)
    shapes = [equal_layers(load_model(name)) for name in models]
    gpus, dtypes, load, bounds = asked_of(
        devices, formats, (weight_dtype, kv_dtype), input, output, ttft_ms=ttft_ms, tpot_ms=tpot_ms
    )
    if len(shapes) * len(gpus) * len(dtypes) > MOST:
        raise InputError("compare", f"has more than {MOST} rows", "ask for fewer models, GPUs or formats")
    from tilecast.planner.compare import row

    cases = product(shapes, gpus, dtypes)
    rows = [row(shape, gpu, dtype, serves, load, known, bounds) for shape, gpu, dtype in cases]
    return Comparison({"engine": serves.title, "bounds": bounds, "rows": rows})
