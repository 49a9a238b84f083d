"""Steps and searches a second of processor time on one core: `python benchmarks/plan.py [ROUNDS]`.

GPT-3 175B on 1,024 H100s. What is compared is run in turns, and the median of the rounds is told: one step after
another of layouts whose kernels are known (the usual layout, and a draw of all that fit), all that fit at once,
and a search from nothing, start and kernels included, beside the floor of importing numpy and pandas.
"""

# ruff: noqa: E402 - thread counts are read when numpy is imported
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from tilecast.base.paths import PRICES
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.multigpu.step import StepForecaster
from tilecast.planner.candidates import TrainingLayouts
from tilecast.planner.search import training_space
from tilecast.predict.registry import load_predictor

GPUS, DRAWN = 1024, 200
USUAL = Layout(dp=16, tp=8, pp=8, recompute="full", zero=1, sequence_parallel=True)  # as Megatron-LM runs it
SEARCH = ("search", "--model", "gpt3_175b", "--system", "dgx_h100", "--gpus", str(GPUS), "--json")
WORK = Workload(
    load_model("gpt3_175b"), 512, 2048, "training", dtype="bf16", attention="fused", optimizer="adam", fused=True
)


def spent(action: Callable[[], object]) -> float:
    """Processor seconds that an action takes in this process."""
    began = time.process_time()
    action()
    return time.process_time() - began


def started(*command: str) -> float:
    """Processor seconds that a command takes, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int) -> None:
    """Print one line of JSON a measurement."""
    system = load_system("dgx_h100")
    steps = StepForecaster(WORK, system, load_device(system.device), load_predictor("tilecast"))
    found = TrainingLayouts(steps, load_prices(PRICES)).search(training_space(WORK), GPUS, "step_time")
    fit = [candidate.layout for candidate in found.ranked]
    drawn = random.Random(0).sample(fit, min(DRAWN, len(fit)))
    plain = [layout for layout in fit if layout.schedule != "interleaved"]
    measured: dict[str, tuple[int, Callable[[], float]]] = {
        "step, the usual layout": (DRAWN, lambda: spent(lambda: [steps.step(USUAL) for _ in range(DRAWN)])),
        "step, drawn layouts": (len(drawn), lambda: spent(lambda: [steps.step(layout) for layout in drawn])),
        "batched, all that fit": (len(fit), lambda: spent(lambda: steps.latencies(fit))),
        "batched, not interleaved": (len(plain), lambda: spent(lambda: steps.latencies(plain))),
        "search, with its start": (found.tried, lambda: started("-m", "tilecast", *SEARCH)),
        "floor: numpy and pandas": (1, lambda: started("-c", "import numpy, pandas")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, (_, run) in measured.items():
            seconds[name].append(run())
    for name, (count, _) in measured.items():
        median = statistics.median(seconds[name])
        row = {"what": name, "count": count, "rounds": rounds, "cpu_s": round(median, 4)}
        print(json.dumps(row | {"per_s": round(count / median)}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
