"""Learn the kernels of single models with layers of several kinds, in symbolic form.

`python benchmarks/learn_models.py MODEL ...` needs torch and transformers, and takes minutes a model. Unlike in
`learn_kernels.py` the dimensions stay those of the model; sequences, tokens, layers and tensor-parallel ranks (1,
2, 4, 8) vary. Each kind of layer has a file; inference with attention in one kernel, in half precision. A record
is learnt from five traces and must give another; cases that are rare have none, and are traced.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator

from learn_kernels import HELD_OUT, LEARNT_FROM, Kind, Point

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.paths import KERNELS
from tilecast.graph.learn import Unlearnt, Writer
from tilecast.graph.symbolic import NotCovered, Question, conditions, dimensions, fixed, letters, part_of
from tilecast.models.architecture import layer_kinds, of_kind
from tilecast.models.registry import ModelSpec, load_model

DRAWS, FARTHEST = 1500, 4096  # steps drawn; a window beyond is not reached


def drawn(spec: ModelSpec, step: str) -> Iterator[Point]:
    """Steps of the model with few layers, at random without end."""
    draw, window, chunk = random.Random(1), letters(spec, Question()).get("W", 0), spec.values.get("chunk_size")
    near = [33, 48, 64, 77, 96, 100] + [window + more for more in (40, 64, 96, 130, 161) if 0 < window < FARTHEST]
    near = [times * chunk for times in (1, 2, 3, 4, 5, 7)] if chunk and step != "decode" else near
    while True:
        length, context = (1, draw.choice(near)) if step == "decode" else (draw.choice(near), 0)
        batch = draw.choice(
            (1, 1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 256, *(draw.randint(2, 300) for _ in range(6)))
        )
        question = Question(
            "inference", "decode" if context else "prefill", length, batch, context, "bf16", "fused", "adamw",
            draw.choice((1, 2, 4, 8)), 1,
        )  # fmt: skip
        yield spec.shortened(draw.choice((5, 6, 7))), question


def cases(spec: ModelSpec, step: str) -> dict[str, list[Point]]:
    """Steps by the case they meet, the most frequent first."""
    found: dict[str, list[Point]] = {}
    for _, point in zip(range(DRAWS), drawn(spec, step)):
        try:
            found.setdefault(conditions(letters(*point)), []).append(point)
        except NotCovered:
            continue
    return dict(sorted(found.items(), key=lambda case: -len(case[1])))


class OfModel(Kind):
    """The records of one kind of step of one kind of layer."""

    def points(self, case: str, share: str, count: int) -> list[Point]:
        """Steps that meet the case, with batches as different as can be: tokens of an expert follow from them."""
        met = [point for point in self.met[case] if share in ("", part_of(point[1]))]
        turns: Counter[int] = Counter()

        def turn(point: Point) -> int:
            turns[point[1].batch_size] += 1
            return turns[point[1].batch_size]

        met.sort(key=turn)
        if len(met) < count:
            raise Unlearnt("too few steps meet it")
        return met[:count]

    met: dict[str, list[Point]]


def main(names: list[str]) -> None:
    """Learn the models named."""
    for name in names:
        spec = load_model(name)
        for place, layer in enumerate(dict.fromkeys(layer_kinds(spec))):
            own, writer, kinds = of_kind(spec, layer), Writer({}), {}
            for step in ("inference", "decode"):
                kind = OfModel(writer, own, step, "fused", "bf16")
                kind.met = cases(own, step)
                for case, points in kind.met.items():
                    if len(points) < LEARNT_FROM + HELD_OUT:
                        continue
                    try:
                        result = kind.learn(case)
                    except (InputError, Unlearnt) as error:
                        result = f"none ({str(error)[:150]})"
                    print(f"{name} {layer} {step} [{case}]: {result}", flush=True)
                if kind.cases:
                    kinds[f"{own.architecture('inference')} {step} fused half"] = {
                        "cases": kind.cases, "records": kind.records,
                    }  # fmt: skip
            file = {"fixed": fixed(own), "only": dimensions(own), "kinds": kinds, **writer.file()}
            path = KERNELS / f"{spec.values['model_type']}_{name}_{place}.json"
            write_text(path, json.dumps(file, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
