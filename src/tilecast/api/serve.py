"""Requests served on GPUs: what clients of a served model see, replayed pass by pass."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from tilecast.api import work as asked
from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.text import short, size, text_table
from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.base.paths import PRICES
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.architecture import Architecture, equal_layers
from tilecast.models.registry import load_model
from tilecast.serving.engines import engine as load_engine
from tilecast.serving.load import Lengths, Load, read_trace

Format = Literal["bf16", "fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"]
Engine = Annotated[str, Option("how passes are filled: vllm, sglang, trtllm")]
_LENGTHS = "tokens: 1024, 800-1024, or lognormal:600:0.8 (median, sigma)"


class Serving(Answer):
    """What clients of a served model see, by load."""

    schema = "tilecast.serve/1"

    @property
    def fits(self) -> bool:
        """Whether a load fits in memory and keeps the bounds."""
        return self.values["best"] is not None

    @property
    def best(self) -> dict[str, Any] | None:
        """The figures of the load with most tokens a second within the bounds."""
        return self.values["loads"][self.values["best"]] if self.fits else None

    def rows(self) -> list[dict[str, Any]]:
        """A row a load."""
        return [{name: part for name, part in row.items() if name != "unmeasured"} for row in self.values["loads"]]

    def text(self) -> str:
        """For a reader."""
        return _text(self.values)


@question
def serve(
    model: asked.Model,
    device: asked.Gpu = None,
    *,
    system: Annotated[
        str | None, Option("more GPUs than one: a system file (YAML), or a name of `tilecast list systems`")
    ] = None,
    engine: Engine = "vllm",
    concurrency: Annotated[
        int | None,
        Option("clients that wait for answers (without a load: every number that fits)", "clients"),
    ] = None,
    rate: Annotated[float | None, Option("requests that come in a second", metavar="PER_S")] = None,
    trace: Annotated[
        str | None, Option("CSV of seconds,prompt,output: requests as they came", metavar="FILE")
    ] = None,
    input: Annotated[
        str | int, Option(f"of prompts, {_LENGTHS}", metavar="TOKENS", others=("--sequence",))
    ] = "1024",
    output: Annotated[str | int, Option("of answers, likewise", metavar="TOKENS")] = "256",
    cached: Annotated[
        float | None, Option("share of a prompt in the server's prefix cache (above 0, below 1)", metavar="SHARE")
    ] = None,
    tp: Annotated[int, Option("GPUs of one server", "gpus")] = 1,
    pp: Annotated[int, Option("pipeline stages", "gpus")] = 1,
    ep: Annotated[int, Option("of the --tp ranks, over which experts lie whole", "gpus")] = 1,
    dp: Annotated[int, Option("servers, between which requests go", "gpus")] = 1,
    decoders: Annotated[
        str | None,
        Option("as 4x2: two servers of tp 4 that only decode; the others only prefill", metavar="TPxSERVERS"),
    ] = None,
    dtype: Annotated[Format, Option("number format of weights and activations")] = "bf16",
    moe_dtype: Annotated[Format | None, Option("of experts (default: --dtype)")] = None,
    weight_dtype: asked.WeightFormat = None,
    kv_dtype: Annotated[Literal["bf16", "fp8"], Option("of the cache")] = "bf16",
    token_budget: Annotated[int | None, Option("tokens of a pass (default: the engine's)", "sequence")] = None,
    max_requests: Annotated[int | None, Option("requests of a server at once (likewise)", "batch")] = None,
    memory_share: Annotated[float | None, Option("of a GPU's memory, at most 1 (likewise)")] = None,
    draft_tokens: Annotated[int | None, Option("speculative decoding: tokens drafted a pass", "top")] = None,
    acceptance: Annotated[
        float | None, Option("chance that a drafted token is accepted (above 0, at most 1)")
    ] = None,
    draft_model: Annotated[
        str | None,
        Option("what drafts; own: the model's layer that predicts further tokens (default: a look-up at no cost)"),
    ] = None,
    ttft_ms: Annotated[float | None, Option("bound on the mean time to first token")] = None,
    tpot_ms: Annotated[float | None, Option("bound on the mean time per output token")] = None,
    prices: asked.PriceFile = None,
) -> Serving:
    """Requests served on GPUs: time to first token and per token, throughput, memory, cost."""
    given = dict(locals())
    _check(given)
    load = Load(
        Lengths.parse(str(input), "--input"),
        Lengths.parse(str(output), "--output", least=2),
        concurrency or 0, rate or 0.0, cached=cached or 0.0,
        trace=read_trace(trace) if trace else (),
    )  # fmt: skip
    known, serves = load_prices(prices or PRICES), load_engine(engine)
    described = load_system(system) if system else None
    if device is None and described is not None and not described.device:
        raise InputError(str(system), "names no `device`", "add --device")
    gpu = load_device(device or described.device)  # type: ignore[union-attr]
    shape = equal_layers(load_model(model))
    from tilecast.predict.half_precision import shipped  # numpy, once the arguments stand
    from tilecast.serving.answer import answered
    from tilecast.serving.deployment import Deployment, Draft, Pool, check
    from tilecast.serving.passes import Formats

    if moe_dtype and not shape.experts:
        raise InputError("--moe-dtype", f"needs experts: {model} has none")
    draft = None
    if draft_tokens and acceptance is not None:
        draft = Draft(draft_tokens, acceptance, _drafting(draft_model, shape))
    batching = serves.batching
    most, budget = max_requests or batching.sequences, token_budget or batching.budget
    batching = replace(batching, sequences=most, budget=budget)
    formats = Formats(stored(dtype), stored(moe_dtype or dtype), kv_dtype, weight_dtype or "")
    decoding = _pool(decoders) if decoders is not None else None
    deployment = Deployment(
        shape, gpu, described, batching, formats, Pool(tp, pp, ep, dp), decoders=decoding, draft=draft,
        memory_share=memory_share or serves.memory_share,
    )  # fmt: skip
    check(deployment, shipped())
    bounds = {name: given[name] for name in ("ttft_ms", "tpot_ms") if given[name] is not None}
    names = {"model": model, "device": gpu.title, "system": described.title if described else None}
    return Serving(
        {
            **names, "engine": serves.title, "gpus": deployment.gpus, "formats": deployment.formats._asdict(),
            "prompt": str(input), "output": str(output), "rate_per_s": rate, "bounds": bounds,
            **answered(deployment, load, known, bounds),
        }
    )  # fmt: skip


def stored(dtype: str) -> str:
    """The measured format of one that is asked for: fp16 runs at bf16's rates."""
    return "bf16" if dtype == "fp16" else dtype


def _check(given: dict[str, Any]) -> None:
    """One line for numbers that mean nothing together."""
    loads = [name for name in ("concurrency", "rate", "trace") if given[name] is not None]
    if len(loads) > 1:
        raise InputError(f"--{loads[0]}, --{loads[1]}", "are two loads", "give one")
    for name in ("rate", "ttft_ms", "tpot_ms"):
        if given[name] is not None and not 0 < given[name] < 1e15:
            raise InputError("--" + name.replace("_", "-"), f"{given[name]:g} is no number above zero")
    if given["cached"] is not None and not 0 <= given["cached"] < 1:
        raise InputError("--cached", f"{given['cached']:g} is no share of a prompt", "expected 0 to below 1")
    if given["memory_share"] is not None and not 0 < given["memory_share"] <= 1:
        raise InputError("--memory-share", f"{given['memory_share']:g} is no share", "expected above 0, at most 1")
    if given["acceptance"] is not None and not 0 <= given["acceptance"] <= 1:
        raise InputError("--acceptance", f"{given['acceptance']:g} is no chance", "expected above 0, at most 1")
    if (given["draft_tokens"] is None) != (given["acceptance"] is None):
        raise InputError("--draft-tokens", "and --acceptance go together", "give both or none")
    if given["draft_model"] and given["draft_tokens"] is None:
        raise InputError("--draft-model", "needs --draft-tokens and --acceptance")
    if given["decoders"] and not loads:
        raise InputError("--decoders", "needs a load", "give --rate, --concurrency or --trace")
    if given["decoders"] and not given["system"]:
        raise InputError("--decoders", "are other GPUs: caches go to them over links", "add --system")
    if not given["device"] and not given["system"]:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")


def _drafting(name: str | None, shape: Architecture) -> Architecture | None:
    if name == "own" and not shape.predicting:
        problem = f"{shape.name} has no layer that predicts further tokens (`num_nextn_predict_layers`)"
        raise InputError("--draft-model", problem, "name another model, or leave it out")
    return shape.predictor if name == "own" else equal_layers(load_model(name)) if name else None


def _pool(text: str) -> Any:
    from tilecast.serving.deployment import Pool

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch("[1-9][0-9]{0,5}", part) for part in parts):
        raise InputError("--decoders", f"{shown(text)} is no pool of servers", "give 4 (one of tp 4) or 4x2 (two)")
    return Pool(int(parts[0]), replicas=int(parts[-1]) if len(parts) == 2 else 1)


def _text(values: dict[str, Any]) -> str:
    lines = [
        f"{values['model']} on {values['gpus']} x {values['device']}, {values['engine']}, "
        f"{values['formats']['gemm']}: prompts of {values['prompt']}, answers of {values['output']} tokens"
    ]
    for name, pool in values["memory"].items():
        lines.append(
            f"{name:<9} {pool['gpus']:,} of {size(pool['device_bytes'])}: each holds "
            f"{size(pool['weights_bytes'])} of weights, has {size(pool['cache_room_bytes'])} for caches; "
            f"a server works on {pool['most_requests']:,} requests at most"
        )
    if not values["loads"]:
        return "\n".join([*lines, "does not fit: more GPUs a server (--tp) or a smaller format (--dtype fp8)"])
    if len(values["loads"]) > 1:
        return "\n".join([*lines, "", *_sweep_text(values)])
    row = values["loads"][0]
    columns = {"ms": "<22", "mean": ">10", "p50": ">10", "p90": ">10", "p99": ">10"}
    columns["  80 % interval of the mean"] = "<"
    times = {"time to first token": "ttft_ms", "time per output token": "tpot_ms", "whole answer": "end_to_end_ms"}
    table = [
        [name, *(short(row[key][part]) for part in ("mean", "p50", "p90", "p99"))]
        + [f"  {_between(row[key]) or 'none'}"]
        for name, key in times.items()
    ]
    rate, paid = row["output_tokens_per_s"], row["usd_per_million_tokens"]
    joules = row["joules_per_token"]
    spent = ", ".join(f"{name} {ms:.3g}" for name, ms in row["decode_pass_ms"].items())
    lines += ["", *text_table(columns, table), ""]
    lines += [
        f"rate      {short(rate['mean'])} output tokens/s{_bracketed(rate)}, "
        f"{short(row['requests_per_s'])} requests/s",
        "cost      " + (
            f"${short(paid['mean'])} per 1M output tokens{_bracketed(paid)}" if paid
            else f"no price for {values['device']}"
        ),
        "energy    " + (
            f"{short(joules['mean'], 3)} J per output token{_bracketed(joules)}, boards alone" if joules
            else f"not known: no board power of {values['device']}"
        ),
        f"decoding  a full pass takes {sum(row['decode_pass_ms'].values()):,.3g} ms: {spent}",
    ]  # fmt: skip
    if row["unmeasured"]:
        lines.append("interval  none: held against no measurement with " + ", ".join(row["unmeasured"]))
    if row["overloaded"]:
        lines.append("overload  requests come faster than they are answered: times grow with the run")
    if values["best"] is None:
        lines.append("bounds    not kept: " + ", ".join(f"{k} {v:g}" for k, v in values["bounds"].items()))
    return "\n".join(lines)


def _between(figure: dict[str, float]) -> str:
    return f"{short(figure['low'])} to {short(figure['high'])}" if "low" in figure else ""


def _bracketed(figure: dict[str, float]) -> str:
    return f" ({_between(figure)})" if "low" in figure else ""


def _sweep_text(values: dict[str, Any]) -> list[str]:
    heads = ("clients", "TTFT ms", "its p99", "TPOT ms", "p99 of it", "tokens/s", "$/1M tokens")
    rows = []
    for row in values["loads"]:
        paid = row["usd_per_million_tokens"]
        figures = [row[name][part] for name in ("ttft_ms", "tpot_ms") for part in ("mean", "p99")]
        rows.append(
            [f"{row['concurrency']:,}", *map(short, figures)]
            + [f"{row['output_tokens_per_s']['mean']:,.0f}", f"{paid['mean']:,.3g}" if paid else "no price"]
        )
    limits = " and ".join(f"{name[:4].upper()} within {limit:g} ms" for name, limit in values["bounds"].items())
    best = "none" if values["best"] is None else f"{values['loads'][values['best']]['concurrency']:,} clients"
    table = text_table(dict.fromkeys(heads, ">12"), rows)
    return [*table, "", f"most tokens per second{f', {limits}' if limits else ''}: {best}"]
