"""`tilecast measure`: describe this machine, write forecasts down, measure, and see how far they were off."""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

from tilecast.api.text import text_table
from tilecast.api.work import torch_needed
from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.evaluate.machine import kernels, models, summary
from tilecast.hardware.device import device_names
from tilecast.measure.describe import DESCRIPTION, describe, open_backend, read_description, write_description
from tilecast.measure.grid import EACH, FAMILIES, with_work
from tilecast.measure.store import PLANS, Run, digest
from tilecast.predict.calibrate import fit, save
from tilecast.predict.kernel import moved_bytes
from tilecast.predict.plan import write_kernel_plan, write_model_plan
from tilecast.tables.columns import DTYPE_NAMES
from tilecast.tables.declared.measured import PLANNED_KERNELS
from tilecast.tables.io import read

_NAMED = ("forecast", "calibrate", "errors")  # which take the name of a described device too
LONGEST_S = 0.1  # kernels the device needs longer for at its peak rates are not in the grid
STUDY, KEPT = Path("config/studies/live.yaml"), Path("resources/measured")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    added = {}
    for name, words in {
        "device": "describe the device at hand",
        "forecast": "write forecasts down, before anything is measured",
        "kernels": "time kernels, least sure forecasts first, until the budget is spent; goes on where it stopped",
        "model": "time whole models: one, or those of a study",
        "campaign": "everything there is to measure on a borrowed device, within a budget",
        "calibrate": "fit the scales that measurements on a device ask for (tilecast forecast --calibration)",
        "errors": "forecasts made before against what was measured",
    }.items():
        command = added[name] = commands.add_parser(name, help=words, description=words)
        words = "folder with one folder a device (default: results/measured)"
        command.add_argument("--output", type=Path, default=Path("results/measured"), metavar="DIR", help=words)
        words = "auto, cpu, cuda" + (", or a name of data/devices" if name in _NAMED else "")
        command.add_argument("--device", default="auto", metavar="DEVICE", help=words)
        command.add_argument("--threads", type=option("threads"), default=1, help="of a CPU (default: 1)")
    for name in ("forecast", "kernels"):
        added[name].add_argument("--dtypes", help="such as fp32,bf16 (default: all the device has)")
        added[name].add_argument("--families", help="default: all of " + ",".join(FAMILIES))
        words = "shapes a family (default: %(default)s)"
        added[name].add_argument("--each", type=option("each"), default=EACH, help=words)
    for name in ("forecast", "model"):
        added[name].add_argument("--study", type=Path, metavar="FILE", help=f"workloads, such as {STUDY}")
    for name in ("kernels", "model", "campaign"):
        added[name].add_argument("--budget", default="60s", help="time to measure: 90s, 5m, 1h (default: 60s)")
    model = added["model"]
    model.add_argument("--model", help="a name of data/models, or a config.json")
    model.add_argument("--mode", choices=("inference", "training"), default="inference")
    model.add_argument("--phase", choices=("prefill", "decode"), default="prefill", help="part of inference")
    words = "tokens per sequence (default: 1024)"
    model.add_argument("--sequence", type=option("sequence"), default=1024, help=words)
    model.add_argument("--batch", type=option("batch"), default=1, help="sequences per step (default: 1)")
    words = "tokens already cached, for --phase decode"
    model.add_argument("--context", type=option("context"), default=0, help=words)
    model.add_argument("--dtype", default="fp32", help="number format: " + ", ".join(DTYPE_NAMES))
    model.add_argument("--attention", choices=("eager", "fused"), default="eager")
    model.add_argument("--execution", choices=("eager", "compiled"), default="eager", help="torch.compile or not")
    words = "folder with forecasts and earlier runs, one folder a device (default: %(default)s)"
    added["campaign"].add_argument("--kept", type=Path, default=KEPT, metavar="DIR", help=words)
    words = "models (default: %(default)s)"
    added["campaign"].add_argument("--study", type=Path, default=STUDY, metavar="FILE", help=words)
    added["campaign"].add_argument("--stages", help="some of them, such as peaks,copies (default: all)")
    words = "print seconds a stage, and measure nothing"
    added["campaign"].add_argument("--plan", action="store_true", help=words)
    added["calibrate"].add_argument("--predictor", choices=("tilecast", "roofline"), default="tilecast")
    words = "where to write (default: DIR/<device>/calibration.json)"
    added["calibrate"].add_argument("--file", type=Path, help=words)


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1h` in seconds; more than zero."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text)
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else math.nan
    if not 0 < value < 1e6:
        problem = f"{text!r} leaves no time to measure" if value == 0 else f"{text!r} is no time"
        raise InputError("--budget", problem, "give more than zero, such as 60s or 5m")
    return value


def run(args: argparse.Namespace) -> int:
    """Do one of them."""
    if hasattr(args, "budget"):
        args.budget = seconds(args.budget)  # wrong words cost no time
    actions = {
        "device": _device, "forecast": _forecast, "kernels": _kernels, "model": _model, "calibrate": _calibrate,
        "errors": _errors, "campaign": _campaign,
    }  # fmt: skip
    return actions[args.what](args)


def _opened(args: argparse.Namespace) -> Any:
    with torch_needed("measure"):
        return open_backend(args.device, args.threads)


def _described(args: argparse.Namespace, backend: Any = None) -> dict[str, Any]:
    """The description of a named device, or of the one at hand: as it was described first, if it was."""
    if args.device in device_names():
        from tilecast.hardware.device_file import load_device

        known = load_device(args.device)
        return {"name": known.name, "title": known.title, "kind": "cuda", "known": known.name,
                "basis": {"*": "data/devices"}}  # fmt: skip
    backend = backend or _opened(args)
    path = args.output / backend.name / DESCRIPTION
    return read_description(path) if path.exists() else describe(backend)


def _folder(args: argparse.Namespace) -> Path:
    """The folder of a device that something was measured on."""
    name = _opened(args).name if args.device in ("auto", "cpu", "cuda") else args.device
    return Path(args.output / name)


def _device(args: argparse.Namespace) -> int:
    backend = _opened(args)
    found = describe(backend)
    path = args.output / backend.name / DESCRIPTION
    if not path.exists():  # what forecasts were made from stays
        write_description(found, path)
    print(f"{found['title']}: {path}")
    for key, value in found.items():
        if key not in ("name", "title", "basis", "kind"):
            print(f"  {key:24}{value}")
    return 0


def _listed(text: str, allowed: tuple[str, ...], option: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    wrong = [name for name in names if name not in allowed]
    if wrong or not names:
        problem = f"{(wrong or [text])[0]!r} is not known"
        raise InputError(option, problem, f"expected some of {', '.join(allowed)}")
    return names


def _planned(args: argparse.Namespace, description: dict[str, Any], dtypes: tuple[str, ...], renew: bool) -> Path:
    """The file of forecasts, made if need be; with what was asked for in it."""
    chosen = _listed(args.dtypes, DTYPE_NAMES, "--dtypes") if args.dtypes else list(dtypes)
    families = _listed(args.families, FAMILIES, "--families") if args.families else list(FAMILIES)
    folder = args.output / description["name"]
    path = write_kernel_plan(folder, description, chosen, families, args.each, LONGEST_S, renew=renew)
    held = read(path, PLANNED_KERNELS)
    for asked, column, wanted in ((args.dtypes, "dtype", chosen), (args.families, "family", families)):
        lacking = sorted(set(wanted) - set(held[column]))
        if asked and lacking:
            problem = f"holds no forecast of {lacking[0]}, and was written before"
            raise InputError(path, problem, "use another --output, or delete it if nothing was measured after it")
    return path


def _forecast(args: argparse.Namespace) -> int:
    named = args.device in device_names()
    backend = None if named else _opened(args)
    description = _described(args, backend)
    dtypes = backend.dtypes if backend else ("fp32", "bf16")
    path = _planned(args, description, dtypes, renew=True)
    print(f"forecasts of kernels: {path}, sha256 {digest(path)}")
    if args.study:
        from tilecast.measure.models import read_study

        path = write_model_plan(path.parent, description, read_study(args.study))
        print(f"forecasts of models: {path}, sha256 {digest(path)}")
    return 0


def _about(folder: Path, kind: str) -> dict[str, Any]:
    """What a run's record says of how it came about; of the command, options and names alone."""
    plan = folder / PLANS[kind]
    return {"command": _command()} | (
        {"forecasts": plan.name, "forecasts_sha256": digest(plan)} if plan.exists() else {}
    )


def _command() -> str:
    return "tilecast " + " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:])


def _campaign(args: argparse.Namespace) -> int:
    with torch_needed("measure"):
        from tilecast.cli import campaign
    return campaign.run(args, _opened(args), _command())


def _kernels(args: argparse.Namespace) -> int:
    from tilecast.measure.session import distinct, measure_kernels

    backend = _opened(args)
    folder = args.output / backend.name
    path = _planned(args, _described(args, backend), backend.dtypes, renew=False)
    plan = read(path, PLANNED_KERNELS)
    run = Run(backend, folder, "kernels", _about(folder, "kernels"))
    result = measure_kernels(backend, distinct(plan), run, args.budget)
    print(
        f"{backend.title}: {result['measured']} kernels measured, {result['out of memory']} out of memory, "
        f"{result['failed']} failed; {result['known']} were known, {result['left']} are left "
        f"({result['too_long']} of them longer than a tenth of this budget)"
    )
    if result["measured"] + result["out of memory"] + result["failed"]:
        print(f"written to {run.path}")
    return 0


def _model(args: argparse.Namespace) -> int:
    from tilecast.measure.models import measure_models, read_study, workload

    if (args.model is None) == (args.study is None):
        problem = "names no model and no study, or both"
        raise InputError("tilecast measure model", problem, "give --model or --study")
    if args.study:
        works = read_study(args.study)
    else:
        names = ("model", "mode", "phase", "context", "dtype", "attention", "execution")
        given = {name: getattr(args, name) for name in names}
        given |= {"sequence_length": args.sequence, "batch_size": args.batch}
        works = [workload(given, "tilecast measure model")]
    backend = _opened(args)
    folder = args.output / backend.name
    if not (folder / DESCRIPTION).exists():
        write_description(_described(args, backend), folder / DESCRIPTION)
    run = Run(backend, folder, "models", _about(folder, "models"))
    lines = Run(backend, folder, "timelines", {"of": run.path.name})
    result = measure_models(backend, works, run, lines, args.budget)
    print(f"{result['known']} were known, {result['left']} are left; written to {folder}")
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    folder = _folder(args)
    live, _ = kernels(folder, "live")
    live = live[live["predictor"] == args.predictor]
    if live.empty:
        raise InputError(folder, "holds no measured kernel that was forecast before", "tilecast measure kernels")
    kinds, predicted = (live["family"].to_numpy(), live["dtype"].to_numpy()), live["predicted_ms"].to_numpy()
    moved = moved_bytes(with_work(live))
    scales = fit(*kinds, live["measured_ms"].to_numpy(), predicted, moved)
    path = args.file or folder / "calibration.json"
    save(scales, read_description(folder / DESCRIPTION)["name"], args.predictor, path)
    print(f"{args.predictor} calibrated on {scales.n} kernels: {path}")
    shift, half = scales.of(*kinds, predicted, moved)
    shown = live.assign(shift=shift, half=half).groupby(["family", "dtype"])[["shift", "half"]].median()
    for (family, dtype), row in shown.iterrows():
        factor, within = math.exp(row["shift"]), math.exp(row["half"])
        print(f"  {family:12}{dtype:6}x {factor:8.3g}, 80 % within a factor {within:.3g} (medians)")
    return 0


def _errors(args: argparse.Namespace) -> int:
    folder = _folder(args)
    if not (folder / DESCRIPTION).exists():
        raise InputError(folder, "holds no measurements", "tilecast measure kernels")
    live, untimed = kernels(folder, "live")
    table = summary(live, untimed.assign(where="live", device=read_description(folder / DESCRIPTION)["name"]))
    columns = {"predictor": "<10", "family": "<13", "format": "<7", "n": ">5", "mean error %": ">14"}
    shown = (
        [*(str(row[name]) for name in ("predictor", "family", "dtype", "n")), f"{row['mape_percent']:.1f}",
         f"{row['median_percent']:.1f}", f"{row['ratio']:.3g}"]
        for row in table.to_dict("records")
    )  # fmt: skip
    print("\n".join(text_table({**columns, "median %": ">10", "forecast/measured": ">19"}, shown)))
    for row in models(folder, "live").to_dict("records"):
        words = f"{row['model']} {row['mode']} {row['phase']} {row['dtype']} {row['execution']}: {row['outcome']}"
        if row["outcome"] == "measured":
            words += f", {row['measured_ms']:.4g} ms [{row['passport']}]"
        before = "no forecast before"
        if isinstance(row["predictor"], str):
            before = f"forecast before {row['predicted_ms']:.4g} ms [{row['predictor']}]"
        print(f"{words}; {before}")
    return 0
