"""`tilecast serve`: what clients of a served model see, replayed pass by pass."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tilecast.base.documents import read_text
from tilecast.base.errors import InputError
from tilecast.base.limits import amount, option
from tilecast.base.paths import PRICES
from tilecast.cli.text_table import short, text_table
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import Prices, load_prices
from tilecast.hardware.system import load_system, system_names
from tilecast.models.registry import load_model, model_names
from tilecast.predict.physics.chip import FORMATS
from tilecast.serving.engines import ENGINES, engine
from tilecast.serving.load import Lengths, Load

UNFIT = 3  # exit code: nothing that was asked for fits or keeps the bounds
_POOL = {
    "tp": "GPUs of one server",
    "pp": "pipeline stages",
    "ep": "of the --tp ranks, over which experts lie whole",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="a config.json, or one of: " + ", ".join(model_names()))
    parser.add_argument("--device", help="a device file, or H100, ...; with --system, its own")
    parser.add_argument("--system", help="a system file (YAML), or one of: " + ", ".join(system_names()))
    parser.add_argument("--engine", default="vllm", help="how passes are filled: " + ", ".join(ENGINES))
    group = parser.add_argument_group("requests; without a load every number of clients that fits is tried")
    group.add_argument(
        "--concurrency", type=option("concurrency", "clients"), help="clients that wait for answers"
    )
    group.add_argument("--rate", type=amount("rate"), metavar="PER_S", help="requests that come in a second")
    group.add_argument("--trace", metavar="FILE", help="CSV of seconds,prompt,output: requests as they came")
    lengths = "tokens: 1024, 800-1024, or lognormal:600:0.8 (median, sigma)"
    group.add_argument("--input", "--sequence", default="1024", metavar="TOKENS", help=f"of prompts, {lengths}")
    group.add_argument("--output", default="256", metavar="TOKENS", help="of answers, likewise (default: 256)")
    words = "share of a prompt's tokens found in the server's prefix cache (0 to below 1)"
    group.add_argument("--cached", type=amount("cached"), default=0.0, metavar="SHARE", help=words)
    group = parser.add_argument_group("servers")
    for name, words in _POOL.items():
        group.add_argument(f"--{name}", type=option(name, "gpus"), default=1, help=words)
    group.add_argument("--dp", type=option("dp", "gpus"), default=1, help="servers, between which requests go")
    words = "as 4x2: two servers of tp 4 that only decode; those of --tp and --dp then only prefill"
    group.add_argument("--decoders", metavar="TPxSERVERS", help=words)
    group.add_argument("--dtype", default="bf16", help="of weights and activations: " + ", ".join(FORMATS))
    group.add_argument("--moe-dtype", help="of experts (default: --dtype)")
    group.add_argument("--kv-dtype", choices=("bf16", "fp8"), default="bf16", help="of the cache")
    group.add_argument("--token-budget", type=option("token-budget", "sequence"), help="tokens of a pass")
    group.add_argument("--max-requests", type=option("max-requests", "batch"), help="requests of a server at once")
    group.add_argument("--memory-share", type=amount("memory-share"), help="of a GPU's memory (default: engine's)")
    group = parser.add_argument_group("speculative decoding")
    group.add_argument("--draft-tokens", type=option("draft-tokens", "top"), help="tokens drafted a pass")
    group.add_argument("--acceptance", type=amount("acceptance"), help="chance that a drafted token is accepted")
    group.add_argument("--draft-model", help="what drafts (default: a look-up that costs nothing)")
    group = parser.add_argument_group("answers")
    group.add_argument("--ttft-ms", type=amount("ttft-ms"), help="bound on the mean time to first token")
    group.add_argument("--tpot-ms", type=amount("tpot-ms"), help="bound on the mean time per output token")
    group.add_argument("--prices", metavar="FILE", help="in place of data/prices.yaml")
    group.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Check, replay, print."""
    prompt, output = Lengths.parse(args.input, "--input"), Lengths.parse(args.output, "--output", least=2)
    _check(args)
    load = Load(prompt, output, args.concurrency or 0, args.rate or 0.0, cached=args.cached)
    if args.trace:
        load = replace(load, trace=read_trace(args.trace))
    prices = load_prices(args.prices or PRICES)
    values = _answers(args, load, prices)
    print(json.dumps(values, indent=2) if args.json else _text(values))
    return 0 if values["best"] is not None else UNFIT


def _check(args: argparse.Namespace) -> None:
    """One line for numbers that mean nothing together."""
    loads = [name for name in ("concurrency", "rate", "trace") if getattr(args, name) is not None]
    if len(loads) > 1:
        raise InputError(f"--{loads[0]}, --{loads[1]}", "are two loads", "give one")
    for name in ("rate", "ttft_ms", "tpot_ms"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e15:
            raise InputError("--" + name.replace("_", "-"), f"{value:g} is no number above zero")
    for name in ("concurrency", "tp", "pp", "ep", "dp", "token_budget", "max_requests", "draft_tokens"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise InputError("--" + name.replace("_", "-"), f"{value} is too small", "expected at least 1")
    if not 0 <= args.cached < 1:
        raise InputError("--cached", f"{args.cached:g} is no share of a prompt", "expected 0 to below 1")
    if args.memory_share is not None and not 0 < args.memory_share <= 1:
        raise InputError("--memory-share", f"{args.memory_share:g} is no share", "expected above 0, at most 1")
    if args.acceptance is not None and not 0 <= args.acceptance <= 1:
        raise InputError("--acceptance", f"{args.acceptance:g} is no chance", "expected 0 to 1")
    if (args.draft_tokens is None) != (args.acceptance is None):
        raise InputError("--draft-tokens", "and --acceptance go together", "give both or none")
    if args.draft_model and args.draft_tokens is None:
        raise InputError("--draft-model", "needs --draft-tokens and --acceptance")
    if args.decoders and not (args.rate or args.trace or args.concurrency):
        raise InputError("--decoders", "needs a load", "give --rate, --concurrency or --trace")
    if not args.device and not args.system:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")


def read_trace(path: str | Path) -> tuple[tuple[float, float, float], ...]:
    """Requests of a CSV with the columns seconds, prompt, output."""
    lines = read_text(path).splitlines()
    if not lines or [name.strip() for name in lines[0].split(",")] != ["seconds", "prompt", "output"]:
        raise InputError(path, "has no header seconds,prompt,output")
    found: list[tuple[float, float, float]] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            at, prompt, output = (float(part) for part in line.split(","))
        except ValueError:
            raise InputError(f"{path}, line {number}", f"{line[:40]!r} is not three numbers") from None
        if not (0 <= at < 1e9 and 1 <= prompt <= 1e8 and 2 <= output <= 1e8):
            raise InputError(
                f"{path}, line {number}",
                "a time below 0, or a length that is none",
                "an answer has 2 tokens or more",
            )
        if found and at < found[-1][0]:
            raise InputError(f"{path}, line {number}", "is earlier than the line before", "sort by seconds")
        found.append((at, prompt, output))
    if not found:
        raise InputError(path, "holds no request")
    return tuple(found)


def _pool(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 0 < int(part) <= 100_000 for part in parts):
        raise InputError("--decoders", f"{text!r} is no pool of servers", "give 4 (one of tp 4) or 4x2 (two)")
    return int(parts[0]), int(parts[-1]) if len(parts) == 2 else 1


def _answers(args: argparse.Namespace, load: Load, prices: Prices) -> dict[str, Any]:
    from tilecast.models.architecture import equal_layers
    from tilecast.predict.half_precision import shipped
    from tilecast.serving import answer
    from tilecast.serving.deployment import Deployment, Desk, Draft, Pool, check, sweep
    from tilecast.serving.passes import Formats

    serves = engine(args.engine)
    system = load_system(args.system) if args.system else None
    if args.device is None and system is not None and not system.device:
        raise InputError(args.system, "names no `device`", "add --device")
    device = load_device(args.device or system.device)  # type: ignore[union-attr]
    model = equal_layers(load_model(args.model))
    if args.moe_dtype and not model.experts:
        raise InputError("--moe-dtype", f"needs experts: {args.model} has none")
    draft = None
    if args.draft_tokens:
        drafts = equal_layers(load_model(args.draft_model)) if args.draft_model else None
        draft = Draft(args.draft_tokens, args.acceptance, drafts)
    batching = serves.batching
    if args.token_budget:
        batching = replace(batching, budget=args.token_budget)
    if args.max_requests:
        batching = replace(batching, sequences=args.max_requests)
    decoders = None
    if args.decoders:
        tp, replicas = _pool(args.decoders)
        decoders = Pool(tp, replicas=replicas)
    dtype = "bf16" if args.dtype == "fp16" else args.dtype
    deployment = Deployment(
        model, device, system, batching,
        formats=Formats(dtype, args.moe_dtype or dtype, args.kv_dtype),
        pool=Pool(args.tp, args.pp, args.ep, args.dp),
        decoders=decoders, draft=draft, memory_share=args.memory_share or serves.memory_share,
    )  # fmt: skip
    check(deployment, shipped())
    held = answer.memory(deployment, load.prompt.mean + load.output.mean)
    fits = all(pool["fits"] and pool["most_requests"] for pool in held.values())
    asked = [load]
    if not (load.concurrency or load.rate_per_s or load.trace):
        asked = sweep(deployment, load)
    desk, rows = Desk(shipped(), device, system), []
    if fits:
        for one in asked:
            desk.ask(deployment, one)
        for one, served in zip(asked, desk.answers(), strict=True):
            rows.append({"concurrency": one.concurrency or None, **answer.figures(deployment, served, prices)})
    bounds = {name: getattr(args, name) for name in ("ttft_ms", "tpot_ms") if getattr(args, name) is not None}
    within = [row for row in rows if all(row[name]["mean"] <= most for name, most in bounds.items())]
    best = max(within, key=lambda row: row["output_tokens_per_s"]["mean"], default=None)
    return {
        "model": args.model,
        "device": device.title,
        "system": system.title if system else None,
        "engine": serves.title,
        "gpus": deployment.gpus,
        "formats": deployment.formats._asdict(),
        "prompt": args.input,
        "output": args.output,
        "rate_per_s": args.rate,
        "bounds": bounds,
        "memory": held,
        "best": None if best is None else rows.index(best),
        "loads": rows,
    }


def _text(values: dict[str, Any]) -> str:
    lines = [
        f"{values['model']} on {values['gpus']} x {values['device']}, {values['engine']}, "
        f"{values['formats']['gemm']}: prompts of {values['prompt']}, answers of {values['output']} tokens"
    ]
    for name, pool in values["memory"].items():
        weights, room = pool["weights_bytes"] / 1e9, pool["cache_room_bytes"] / 1e9
        lines.append(
            f"{name:<9} {pool['gpus']:,} of {pool['device_bytes'] / 1e9:.0f} GB: each holds {weights:.1f} GB of "
            f"weights, has {room:.1f} GB for caches; a server works on {pool['most_requests']:,} requests at most"
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
    spent = ", ".join(f"{name} {ms:.3g}" for name, ms in row["decode_pass_ms"].items())
    lines += ["", *text_table(columns, table), ""]
    lines += [
        f"rate      {short(rate['mean'])} output tokens/s{_bracketed(rate)}, "
        f"{short(row['requests_per_s'])} requests/s",
        "cost      " + (
            f"${short(paid['mean'])} per 1M output tokens{_bracketed(paid)}" if paid
            else f"no price for {values['device']}"
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
