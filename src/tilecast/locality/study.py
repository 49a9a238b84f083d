"""A locality study as a checked file, expanded to a list of runs in which no cell occurs twice.

It imports little: the workflow expands studies before anything runs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Section, validated
from tilecast.base.limits import MOST, check
from tilecast.base.paths import STUDIES
from tilecast.locality.vits import vit

STUDY_FOLDER = STUDIES / "numa"
WHOLE = ""  # the arm of a study that has but one
_CELL = re.compile(
    r"pipeline_gpu(?P<gpu>\d+)_numa(?P<cpu_node>\d+)(?:_mem(?P<memory_node>\d+))?_(?P<model>vit\d+x\d+x\d+)"
    r"(?P<dtype>_bf16)?(?P<compiled>_compiled)?"
)
Count = Annotated[int, Field(ge=1, le=MOST["samples"][0])]
Number = Annotated[int, Field(ge=0, lt=1024)]


class Claimed(Section):
    """A number of runs that the guide gives for this study, and where."""

    runs: Count
    where: str


def _arms(models: Any) -> Any:
    if not isinstance(models, list | dict):
        raise ValueError("should be a list of models, or such lists by name")
    return {WHOLE: models} if isinstance(models, list) else models


# The models of each arm of the study: one list, or several by name, which may share some.
Arms = Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], BeforeValidator(_arms)]


class Study(Section):
    """The file: what is varied, and how long each run is."""

    title: str
    guide: str = ""  # the guide's command
    claimed: list[Claimed] = Field(default_factory=list)
    gpus: list[Number] = Field(min_length=1)
    nodes: list[Number] = Field(min_length=1)
    binding: Literal["together", "crossed"] = "together"  # CPU and memory on one node, or every pair of nodes
    models: Arms = Field(min_length=1)
    heads: dict[str, Count] = Field(default_factory=dict)  # of models whose heads do not follow from their width
    dtypes: list[Literal["fp32", "bf16"]] = Field(["fp32"], min_length=1)
    compiled: list[bool] = Field([False], min_length=1)
    batch_size: Count = 10
    samples: Count = 1000
    warmup: Annotated[int, Field(ge=0)] = 100
    repetitions: Annotated[int, Field(ge=1, le=1000)] = 5
    timeout_s: Count = 600
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("models")
    @classmethod
    def _are_models(cls, arms: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in (name for names in arms.values() for name in names):
            vit(name)
        return arms

    @field_validator("gpus", "nodes", "models", "dtypes", "compiled")
    @classmethod
    def _are_listed_once(cls, values: list[Any] | dict[str, list[Any]]) -> list[Any] | dict[str, list[Any]]:
        for arm in values.values() if isinstance(values, dict) else (values,):
            twice = next((value for place, value in enumerate(arm) if value in arm[:place]), None)
            if twice is not None:
                raise ValueError(f"{str(twice).lower()} is listed twice; list it once")
        return values


@dataclass(frozen=True)
class Cell:
    """One combination that is measured, several times."""

    gpu: int
    cpu_node: int
    memory_node: int
    model: str
    dtype: str = "fp32"
    compiled: bool = False

    @property
    def name(self) -> str:
        """The stem of its files in the guide's form; what is not the guide's default is appended."""
        memory = "" if self.memory_node == self.cpu_node else f"_mem{self.memory_node}"
        ending = ("" if self.dtype == "fp32" else f"_{self.dtype}") + ("_compiled" if self.compiled else "")
        return f"pipeline_gpu{self.gpu}_numa{self.cpu_node}{memory}_{self.model}{ending}"


def parse_name(name: str, where: object = None) -> Cell:
    """The cell that a file's stem names, or an InputError at `where`."""
    match = _CELL.fullmatch(name)
    if match is None:
        form = "pipeline_gpu{N}_numa{N}_vit{patch}x{depth}x{width}"
        raise InputError(where or name, "the name does not parse", f"expected {form}")
    part = match.groupdict()
    node = int(part["cpu_node"])
    memory = int(part["memory_node"]) if part["memory_node"] else node
    dtype = "bf16" if part["dtype"] else "fp32"
    return Cell(int(part["gpu"]), node, memory, part["model"], dtype, part["compiled"] is not None)


def study_names(folder: Path = STUDY_FOLDER) -> tuple[str, ...]:
    """Names of the shipped studies."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def load_study(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """The study of a YAML file, or of config/studies/numa by name, with the overrides that are not None."""
    path, shipped = Path(name), study_names()
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in shipped:
            raise InputError(name, "is not a known study", f"give a YAML file, or one of {', '.join(shipped)}")
        path = STUDY_FOLDER / f"{name}.yaml"
    raw = read_yaml(path, f"shipped are {', '.join(shipped)}")
    study = validated(Study, raw, path)
    changed = {key: value for key, value in (overrides or {}).items() if value is not None}
    return validated(Study, raw | changed, "numa") if changed else study


def _combinations(study: Study) -> Iterator[tuple[Cell, str]]:
    """Every combination that the study lists, and the arm that lists it."""
    for compiled, dtype, gpu, cpu_node in product(study.compiled, study.dtypes, study.gpus, study.nodes):
        for memory_node in study.nodes if study.binding == "crossed" else [cpu_node]:
            for arm, models in study.models.items():
                for model in models:
                    yield Cell(gpu, cpu_node, memory_node, model, dtype, compiled), arm


def cells(study: Study) -> tuple[list[Cell], list[str]]:
    """The study's cells, each once; and the repeated ones that were rejected, in words."""
    found: dict[Cell, str] = {}
    rejected = []
    for place, (cell, arm) in enumerate(_combinations(study), 1):
        check("runs", place * study.repetitions, "the study")
        if cell in found:
            rejected.append(f"{cell.name} (listed in {arm}, already in {found[cell]})")
        else:
            found[cell] = arm
    return list(found), rejected


def manifest(name: str, study: Study) -> list[dict[str, Any]]:
    """Every run in order of execution: each repetition is a block of all cells, in a random order of its own."""
    chosen, _ = cells(study)
    rows: list[dict[str, Any]] = []
    length = study.model_dump(include={"batch_size", "samples", "warmup", "timeout_s"})
    for repetition in range(1, study.repetitions + 1):
        block = list(chosen)
        random.Random(f"{study.seed}-{repetition}").shuffle(block)
        for cell in block:
            row = {"study": name, "position": len(rows) + 1, "run": f"{cell.name}_r{repetition}"}
            rows.append(row | {"cell": cell.name, "repetition": repetition} | asdict(cell) | length)
    return rows


def counts(studies: Mapping[str, Study]) -> list[dict[str, Any]]:
    """Each number of runs that the guide gives, beside the runs and distinct cells that its own lists make."""
    rows = []
    for name, study in studies.items():
        chosen, rejected = cells(study)
        sizes = {"listed": len(chosen) + len(rejected), "cells": len(chosen)}
        sizes |= {"repetitions": study.repetitions, "runs": len(chosen) * study.repetitions}
        row = {"study": name, "rejected": ", ".join(rejected) or None, **sizes}
        claims = [{"place": claimed.where, "claimed": claimed.runs} for claimed in study.claimed]
        rows += [row | claim for claim in claims or [{"place": None, "claimed": None}]]
    return rows
