"""The `tilecast` command: one module a sub-command, imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from tilecast import __version__
from tilecast.base.errors import InputError, TilecastError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tilecast.cli.ask import Question

# name -> what it does; the module tilecast.cli.<name> offers add_arguments(parser) and run(args) -> int, unless
# it is a question to tilecast.api
COMMANDS: dict[str, str] = {
    "bundle": "results as one archive to send: make it, verify one",
    "check": "whether the results are still what the run made",
    "collective": "time of a collective operation on a described system of GPUs",
    "compare": "models, GPUs and number formats side by side, as served",
    "completion": "a script that completes commands, options and names in your shell",
    "forecast": "latency, memory and bottlenecks of a model on a GPU",
    "graph": "a model as a list of kernels: parameters, FLOPs, bytes, kernels by class",
    "import": "add somebody else's measurements, from their bundle",
    "kernel": "latency of one kernel on a GPU: product, attention, norm, elementwise",
    "list": "names that the other commands take: models, devices, systems, engines",
    "measure": "time kernels and models on this machine, forecasts first",
    "moe": "experts on several GPUs, with and without fetching them ahead",
    "recommend": "fewest GPUs or dollars for a rate and latency targets, with launch commands",
    "serve": "requests served on GPUs: time to first token and per token, throughput, cost",
    "numa": "host-memory locality: topology, studies, analysis of profiles",
    "search": "the best layout of a model on a system of GPUs, and why the others are not",
    "train": "train predictors on measured kernels",
}


# command -> module and function of tilecast.api
_SAME = ("collective", "compare", "forecast", "graph", "kernel", "recommend", "search", "serve")
QUESTIONS = {name: name for name in _SAME} | {"list": "known"}


def module_of(name: str) -> ModuleType | Question:
    """A sub-command's module, or its question; one that Python keeps the name of ends in an underscore."""
    if name in QUESTIONS:
        from tilecast.cli.ask import Question

        return Question(QUESTIONS[name])
    return importlib.import_module(f"tilecast.cli.{name}" + "_" * keyword.iskeyword(name))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; bad input is one line on stderr and exit code 1, bad usage is exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["forecast"] and "--serve" in arguments:
        arguments = ["serve", *(text for text in arguments[1:] if text != "--serve")]
    parser = argparse.ArgumentParser(prog="tilecast", description="GPU performance forecasting, weighed.")
    parser.add_argument("--version", action="version", version=f"tilecast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if arguments[:1] == [name]:
            module_of(name).add_arguments(command)
    try:
        args = parser.parse_args(arguments)
        return int(module_of(args.command).run(args))
    except TilecastError as error:
        print(f"tilecast: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a name too long, a disk that is full, a folder one may not write to
        words = InputError(error.filename or args.command, error.strerror or str(error))
        print(f"tilecast: error: {words}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:  # a file's name, which the system takes and others do not
        print(f"tilecast: error: {InputError(args.command, f'a name is not UTF-8 ({error})')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tilecast: interrupted; finished steps are kept", file=sys.stderr)
        return 130
