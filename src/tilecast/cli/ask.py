"""Questions on the command line: options from the signature of `tilecast.api`'s function, its answer printed."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from tilecast.api.answer import UNFIT, Answer
from tilecast.api.options import add_arguments, parameters


class Question:
    """A sub-command that asks a function of `tilecast.api` and prints its answer."""

    def __init__(self, command: str) -> None:
        module = importlib.import_module("tilecast.api." + command)
        self.function: Callable[..., Answer] = getattr(module, command)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add_arguments(self.function, parser)
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Ask and print; exit code 3 where what was asked for does not fit."""
        answer = self.function(**{name: getattr(args, name) for name in parameters(self.function)})
        print(answer.to_json() if args.json else answer.text())
        return 0 if answer.fits else UNFIT
