"""Processor seconds of commands from their start to their answer, beside what Python and its packages cost alone.

`python benchmarks/start.py [ROUNDS]` runs every command in turn, round after round, and prints medians: in
seconds, and as a ratio to `import numpy, pandas` in the same rounds. A user's model is traced in a first run
that is not counted. The cache and compiled modules lie in a folder of their own.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tilecast.base.paths import MODELS, SOURCE

FLOORS = {"python -c pass": ["-c", "pass"], "import numpy, pandas": ["-c", "import numpy, pandas"]}
COMMANDS = (
    "--help",
    "collective --op all_reduce --system dgx_h100 --gpus 8 --bytes 1MB",
    "kernel --device H100 --product 4096x4096x4096",
    "forecast --model gpt2 --device H100",
    "forecast --model llama2_70b --device H200 --dtype bf16 --attention fused",
    "forecast --model gpt3_175b --device H100 --mode training --optimizer adamw",
    "forecast --model llama2_70b --system dgx_h100 --tp 8 --dtype bf16",
    "forecast --model mine.json --device H100",
    "forecast --model gpt2 --device H9",
    "forecast --model gpt2 --system dgx_h100 --tp 5",
    "search --model gpt9 --system dgx_h100 --gpus 8",
)


def seconds(words: list[str], folder: Path) -> float:
    """User and system seconds of one process."""
    own = {
        "PYTHONPATH": str(SOURCE),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "XDG_CACHE_HOME": str(folder),
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | own
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(rounds: int) -> None:
    """Print the table."""
    runs = {**FLOORS, **{words: ["-m", "tilecast", *words.split()] for words in COMMANDS}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = json.loads((MODELS / "gpt2.json").read_text()) | {"activation_function": "relu"}  # no record fits
        (folder / "mine.json").write_text(json.dumps(mine))
        for words in runs.values():  # modules are compiled, the user's model is traced
            seconds(words, folder)
        spent: dict[str, list[float]] = {label: [] for label in runs}
        for _ in range(rounds):
            for label, words in runs.items():
                spent[label].append(seconds(words, folder))
    floor = statistics.median(spent["import numpy, pandas"])
    for label, found in spent.items():
        middle = statistics.median(found)
        print(f"{middle:7.3f} s {middle / floor:6.2f} x  {label}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
