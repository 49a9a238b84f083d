"""Learn the kernels of every shipped model in symbolic form, and write them to the package's data/kernels.

`python benchmarks/learn_kernels.py [MODEL TYPE ...]` needs torch and transformers, and takes half an hour. For
every kind of step (mode, attention, width of numbers) and every case (`tilecast.graph.symbolic.conditions`)
that a shipped model can meet, small models of the same type are traced: a record is learnt from five of them
and must then give the kernels of another. A case that a known record gives already gets none of its own. What a
file holds is kept: delete it to learn it anew. At the end every case is held against a shipped model's trace.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from math import gcd
from typing import Any

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.paths import KERNELS
from tilecast.graph.kernels import Launch
from tilecast.graph.learn import Unlearnt, Writer, structure
from tilecast.graph.source import recorded
from tilecast.graph.symbolic import NotCovered, Program, Question, conditions, fixed, letters, part_of
from tilecast.graph.tracer import parameters, trace
from tilecast.models.architecture import NAMES, architecture
from tilecast.models.registry import ModelSpec, load_model, model_names

LEARNT_FROM, HELD_OUT, COMPARED = 5, 1, 3
ENOUGH = 5
KINDS = list(product(("inference", "decode", "training"), ("eager", "fused"), ("fp32", "bf16")))
Point = tuple[ModelSpec, Question]


def families() -> dict[str, list[ModelSpec]]:
    """Shipped models that share their records, by a name of the file."""
    found: dict[str, list[ModelSpec]] = {}
    for spec in map(load_model, model_names()):
        if next(KERNELS.glob(f"{spec.values['model_type']}_{spec.name}_*.json"), None):
            continue  # of this model alone: learn_models.py
        found.setdefault(json.dumps(fixed(spec), sort_keys=True), []).append(spec)
    names: dict[str, list[ModelSpec]] = {}
    for specs in found.values():
        kind = str(specs[0].values["model_type"])
        more = sum(name.startswith(kind) for name in names)
        names[kind + (f"_{more + 1}" if more else "")] = specs
    return names


def met(specs: list[ModelSpec], step: str) -> list[str]:
    """The cases that a family's models can meet."""
    found = set()
    lengths = {"inference": (64, 129, 512), "decode": (1,), "training": (64, 129, 512)}[step]
    for spec in specs:
        try:
            model = architecture(spec)
        except InputError:
            model = None
        alone = model is None or spec.values.get("is_encoder_decoder")
        degrees = (
            [1]
            if alone or model is None
            else [tp for tp in range(1, min(129, model.heads)) if model.heads % tp == 0]
        )
        ranks = (
            [1]
            if alone or model is None or not model.experts
            else [ep for ep in range(1, 129) if model.experts % ep == 0]
        )
        for tp, ep, batch, length in product(degrees, ranks, (1, 2, 3, 4, 16, 17, 64, 255), lengths):
            question = Question(
                sequence_length=length, batch_size=batch, context=2 * (step == "decode"), tp=tp, ep=ep
            )
            try:
                found.add(conditions(letters(spec, question)))
            except NotCovered:
                continue
    return sorted(found, key=lambda text: (len(text), text))


def sampled(spec: ModelSpec, step: str, attention: str, dtype: str, seed: int) -> Iterator[Point]:
    """Small models of the type of `spec`, with a step each, drawn at random without end."""
    draw = random.Random(seed)
    values = spec.values

    def pick(*choices: int) -> int:
        return draw.choice(choices)

    while True:
        tp, ep = pick(1, 1, 2, 3, 4), 1
        keys, heads = pick(1, 2, 3, 5, 7) * pick(1, tp), 0
        heads = keys * pick(1, 2, 3, 4) if any(key in values for key in NAMES["kv_heads"]) else keys
        heads = heads * tp // gcd(heads, tp)
        width = 2 * pick(2, 3, 4, 5, 7)
        hidden = heads * width
        if any(key in values for key in NAMES["head_dim"]):
            hidden = tp * 2 * pick(11, 13, 17, 19, 23, 29)
        dims = {
            "layers": pick(5, 6, 7), "hidden": hidden, "heads": heads, "kv_heads": keys, "head_dim": width,
            "ffn": tp * pick(31, 37, 41, 43, 47), "expert_ffn": tp * pick(31, 37, 41, 53, 59),
            "vocab": draw.randrange(61, 211), "positions": draw.randrange(97, 173),
        }  # fmt: skip
        if any(key in values for key in NAMES["experts"]):
            ep = pick(1, 1, 2)
            dims |= {"experts": ep * pick(4, 5, 6, 7, 9, 11, 16, 24, 40)}
            dims |= {"top_k": pick(*(number for number in (2, 3, 4, 6, 8) if number < dims["experts"]))}
        if values.get("is_encoder_decoder"):
            tp, ep, dims["layers"], dims["heads"] = 1, 1, 2 * pick(4, 5, 6), pick(2, 3, 5)
            dims |= {"experts": pick(11, 12, 13, 14, 15), "sparse_decoder": dims["layers"] // 2}
            dims["sparse_encoder"] = dims["sparse_decoder"]
        if "hidden_sizes" in values:  # convolutions: the model as it is
            small = spec
        else:
            named = {key: dims[name] for name in dims for key in NAMES[name] if key in values}
            named |= {"word_embed_proj_dim": hidden} if "word_embed_proj_dim" in values else {}
            small = replace(spec.shortened(dims["layers"]), values=spec.shortened(dims["layers"]).values | named)
        length = 1 if step == "decode" else pick(1, 5, 7, 9, 11, 13, 16, 19, 23)
        context = draw.randrange(3, 29) if step == "decode" else 0
        yield small, Question(
            "training" if step == "training" else "inference", "decode" if context else "prefill", length,
            pick(1, 1, 2, 3, 4, 5, 7, 8, 11, 13, 18), context, dtype, attention, "adamw", tp, ep,
        )  # fmt: skip


def traced(point: Point) -> list[Launch]:
    """The launches of a live trace, then one for each parameter."""
    spec, asked = point
    graph = trace(
        spec, mode=asked.mode, phase=asked.phase, batch_size=asked.batch_size, context=asked.context,
        sequence_length=None if asked.phase == "decode" else asked.sequence_length, dtype=asked.dtype,
        attention=asked.attention, tp=asked.tp, ep=asked.ep,
    )  # fmt: skip
    return graph.expand() + parameters(spec, asked.mode, asked.dtype, asked.attention, asked.tp, asked.ep)


class Kind:
    """The records of one kind of step of one family."""

    def __init__(self, writer: Writer, spec: ModelSpec, step: str, attention: str, dtype: str) -> None:
        self.writer, self.spec, self.choice = writer, spec, (step, attention, dtype)
        self.records: list[list[Any]] = []
        self.cases: dict[str, int] = {}

    def points(self, case: str, share: str, count: int) -> list[Point]:
        """So many steps of small models that meet the case, no two letters growing alike by chance."""
        found: list[Point] = []
        drawn: list[dict[str, int]] = []
        for _, point in zip(range(200_000), sampled(self.spec, *self.choice, seed=1)):
            if share not in ("", part_of(point[1])):
                continue
            try:
                values = letters(*point)
            except NotCovered:
                continue
            looped = [values[letter] for letter in "rw" if values.get(letter, 1) > 1]
            one_by_one = self.spec.values.get("is_encoder_decoder")  # experts: loops need several turns
            if conditions(values) == case and not (one_by_one and min(looped, default=ENOUGH) < ENOUGH):
                found.append(point)
                drawn.append(values)
            if len(found) == count:
                free = [letter for letter in "LHhgdV" if letter in values and f"{letter}=" not in case]
                if all(len({values[letter] for values in drawn[:LEARNT_FROM]}) > 1 for letter in free):
                    return found
                found.pop(0)
                drawn.pop(0)
        raise Unlearnt("no small model meets it")

    def gives(self, record: list[Any], points: list[Point], traces: list[list[Launch]]) -> bool:
        """Whether a record gives what was traced."""
        program = Program(self.writer.file())
        try:
            return all(
                program.launches(record, letters(*point)) == launches for point, launches in zip(points, traces)
            )
        except (NotCovered, KeyError):
            return False

    def learn(self, case: str) -> str:
        """Find the records of a case, or learn them; says what came of it."""
        try:
            return self._learn(case, "")
        except Unlearnt:  # a rank's share may be built otherwise than the whole model
            return "; ".join(f"{share} {self._learn(case, share)}" for share in ("whole", "cut"))

    def _learn(self, case: str, share: str) -> str:
        points = self.points(case, share, LEARNT_FROM + HELD_OUT)
        case = f"{case} {share}".strip()
        known = [traced(point) for point in points[-COMPARED:]]
        for place, record in enumerate(self.records):
            if self.gives(record, points[-COMPARED:], known):
                self.cases[case] = place
                return f"as {place}"
        traces = [traced(point) for point in points[:-COMPARED]] + known
        learnt = [structure(launches) for launches in traces[:LEARNT_FROM]]
        record = self.writer.record(learnt, [letters(*point) for point in points[:LEARNT_FROM]])
        if not self.gives(record, points, traces):
            raise Unlearnt("what was learnt does not give other traces")
        self.cases[case] = len(self.records)
        self.records.append(record)
        return f"new {self.cases[case]}"


def wrong(specs: list[ModelSpec], key: str, cases: set[str]) -> set[str]:
    """The cases of a kind whose records differ from a live trace of a shipped model, cut to two layers."""
    _, step, attention, width = key.split(" ")
    mode, phase = (
        ("training" if step == "training" else "inference"),
        ("decode" if step == "decode" else "prefill"),
    )
    found, left = set[str](), set(cases)
    sizes = product(
        range(1, 65), (1, 2, 4, 8, 16, 32), (1, 2, 3, 5, 16, 17, 64), (1,) if step == "decode" else (64, 129)
    )
    asked = [
        (spec, Question(mode, phase, length, batch, 37 * (step == "decode"), dtype, attention, "adamw", tp, ep))
        for (tp, ep, batch, length), spec in product(sizes, specs)
        for dtype in (["fp32"] if width == "whole" else ["bf16"])
    ]
    random.Random(2).shuffle(asked)
    for spec, question in asked:
        short = spec if "hidden_sizes" in spec.values else spec.shortened(2)
        try:
            case = conditions(letters(short, question))
        except NotCovered:
            continue
        for name in {case, f"{case} {part_of(question)}".strip()} & left:
            left.remove(name)
            words = asdict(question) | ({"sequence_length": None} if phase == "decode" else {})
            if recorded(short, question) != trace(short, **words):
                found.add(name)
    return found | left  # what no shipped model meets is not kept


def main(wanted: list[str]) -> None:
    """Learn the records of the families asked for, or of all."""
    for name, specs in families().items():
        if wanted and name not in wanted:
            continue
        path = KERNELS / f"{name}.json"
        known = json.loads(path.read_text()) if path.is_file() else {"kinds": {}}  # what is there is kept
        writer, kinds = Writer(known), known["kinds"]
        for step, attention, dtype in KINDS:
            kind = Kind(writer, specs[0], step, attention, dtype)
            width = "whole" if dtype == "fp32" else "half"
            mode = "training" if step == "training" else "inference"
            key = f"{specs[0].architecture(mode)} {step} {attention} {width}"
            kind.records, kind.cases = (
                kinds.get(key, {}).get(part, part_) for part, part_ in (("records", []), ("cases", {}))
            )
            for case in met(specs, step):
                if {case, f"{case} whole".strip()} & set(kind.cases):
                    continue
                try:
                    result = kind.learn(case)
                except (InputError, Unlearnt) as error:
                    result = f"none ({str(error)[:150]})"
                print(f"{name} {step} {attention} {width} [{case}]: {result}", flush=True)
            if kind.cases:
                kinds[key] = {"cases": kind.cases, "records": kind.records}
        file = {"fixed": fixed(specs[0]), "kinds": kinds, **writer.file()}
        write_text(path, json.dumps(file, separators=(",", ":")) + "\n")
        for key, kind in kinds.items():
            for case in wrong(specs, key, set(kind["cases"])):
                print(f"{name} {key} [{case}]: not kept, differs from a shipped model's trace", flush=True)
                del kind["cases"][case]
        write_text(path, json.dumps(file, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
