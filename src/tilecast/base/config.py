"""The configuration as a checked model; `config/config.yaml` and the JSON schema are generated from it.

`python -m tilecast.base.config` rewrites both; a test fails when they drift.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, field_validator, model_validator

from tilecast.base.files import write_text
from tilecast.base.inputs import Section, validated
from tilecast.base.paths import CHECKOUT


def _takes_text(annotation: Any) -> bool:
    """Whether a value of this type may be text."""
    if get_origin(annotation) is Literal:
        return any(isinstance(value, str) for value in get_args(annotation))
    return annotation is str or any(map(_takes_text, get_args(annotation)))


def _from_text(value: Any, annotation: Any) -> Any:
    """A number, flag or null that Snakemake handed over as text, as `--config 'section={key: value}'` does."""
    if isinstance(value, list):
        # no option is a list of lists, and one that holds itself has no end
        return [entry if isinstance(entry, list) else _from_text(entry, annotation) for entry in value]
    if not isinstance(value, str) or _takes_text(annotation):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


class Options(Section):
    """A section of the configuration."""

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = cls.model_fields
        return {
            key: _from_text(value, known[key].annotation) if key in known else value
            for key, value in values.items()
        }


class Artifact(Options):
    """Which artifact is evaluated, and where it may be taken from."""

    repository: str = Field(
        "https://github.com/sitar-lab/NeuSight.git", description="git repository of the published artifact"
    )
    commit: str = Field("6945927d9afcca2b9daf021f8395e53edc5b4eef", description="commit that is evaluated")
    sources: list[Literal["mirror", "git", "published"]] = Field(
        ["mirror", "git", "published"],
        min_length=1,
        description="tried in this order; `published` are the figures transcribed in resources/published",
    )
    mirror: str | None = Field(
        None, description="directory that holds the artifact's files; the variable TILECAST_MIRROR overrides it"
    )
    timeout_s: int = Field(120, gt=0, description="longest wait for one network step, seconds")
    attempts: int = Field(2, ge=1, le=10, description="tries of one network step")

    @field_validator("commit")
    @classmethod
    def _is_a_commit(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{40}", value):
            raise ValueError("expected 40 hexadecimal digits")
        return value

    def mirror_path(self) -> Path | None:
        """The mirror directory in force: the environment's, else the configuration's, else none."""
        named = os.environ.get("TILECAST_MIRROR") or self.mirror
        return Path(named).expanduser() if named else None


class Evaluation(Options):
    """How errors are summarised."""

    bootstrap_resamples: int = Field(
        2000, ge=100, le=100_000, description="resamples behind the interval of every mean error"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="confidence of that interval")
    seed: int = Field(0, ge=0, description="seed of the resampling")


_LABELLED_CELLS = [  # every workload of the artifact that has a measured label and one kernel list
    *(f"bert_large-inference-512-{batch}" for batch in (8, 16)),
    *(f"gpt2_large-inference-1024-{batch}" for batch in (4, 8)),
    *(f"{model}-inference-2048-{batch}" for model in ("gpt3_xl", "gpt3_27", "opt_13") for batch in (2, 8)),
    *(f"switchxl4-inference-512-{batch}" for batch in (1, 2)),
    *(f"bert_large-training-512-{batch}" for batch in (2, 8)),
    *(f"gpt2_large-training-1024-{batch}" for batch in (1, 4)),
    *(f"{model}-training-2048-1" for model in ("gpt3_xl", "gpt3_27", "opt_13")),
    "opt_13-training-2048-2",
    *(f"switchxl4-training-512-{batch}" for batch in (1, 2)),
]


class Graphs(Options):
    """Which models are traced into kernel lists, and how."""

    cells: list[Annotated[str, Field(pattern=r"^[\w.]+-(inference|training)-[1-9]\d*-[1-9]\d*$")]] = Field(
        _LABELLED_CELLS,
        description="<model>-<mode>-<sequence>-<batch>, one Parquet table each; models as in data/models",
    )
    dtype: Literal["fp32", "tf32", "fp16", "bf16"] = Field(
        "fp32", description="number format of weights and activations"
    )
    attention: Literal["eager", "fused"] = Field("eager", description="attention written out, or as one kernel")
    routing: str = Field(
        "balanced",
        description="tokens over experts: balanced, zipf:<exponent>, capacity:<factor>, comma-separated",
    )


class Prediction(Options):
    """Which weights the predictors computed here use."""

    train: bool = Field(
        False, description="train the predictors on the fetched kernel data instead of using the weights shipped"
    )
    seed: int = Field(0, ge=0, description="seed of that training")
    own: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")],
        Annotated[str, Field(pattern=r"^[^:\s]+:[A-Za-z_]\w*$")],
    ] = Field({}, description="predictors of your own, {name: file.py:Class} or {name: module:Class}")


class Numa(Options):
    """The host-memory locality study: which, whether it is run, and what of it is changed."""

    study: str = Field("quick_test", description="a name of config/studies/numa, or a YAML file")
    run: bool = Field(
        False, description="run that study and show it; else the record shipped in resources/measured is shown"
    )
    resume: bool = Field(True, description="keep finished runs of an earlier attempt; false starts afresh")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="where the pipeline runs; auto is CUDA where there is a GPU"
    )
    gpus: list[int] | None = Field(None, min_length=1, description="GPUs instead of the study's own")
    nodes: list[int] | None = Field(None, min_length=1, description="NUMA nodes instead of the study's own")
    binding: Literal["together", "crossed"] | None = Field(
        None, description="CPU and memory on one node, or every pair of nodes"
    )
    models: list[str] | None = Field(None, min_length=1, description="models, vit{patch}x{depth}x{width}")
    dtypes: list[Literal["fp32", "bf16"]] | None = Field(None, min_length=1, description="number formats")
    compiled: list[bool] | None = Field(None, min_length=1, description="with torch.compile, without, or both")
    batch_size: Annotated[int, Field(ge=1)] | None = Field(None, description="samples a batch")
    samples: Annotated[int, Field(ge=1)] | None = Field(None, description="samples timed in a run")
    warmup: Annotated[int, Field(ge=0)] | None = Field(None, description="samples before they are timed")
    repetitions: Annotated[int, Field(ge=1)] | None = Field(None, description="runs of each cell")
    timeout_s: Annotated[int, Field(ge=1)] | None = Field(None, description="longest a run may take, seconds")

    def overrides(self) -> dict[str, Any]:
        """What is changed of the study: the keys that are set."""
        own = ("study", "run", "resume", "device")
        return {key: value for key, value in self.model_dump().items() if key not in own and value is not None}


class Moe(Options):
    """The study of experts on several GPUs."""

    study: str = Field(
        "config/studies/moe_prefetch.yaml", description="file of the study; docs/use/experts.md has its keys"
    )
    overlap_device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where the target `results/moe/overlap.csv` measures copies behind a matrix product"
    )


class Measure(Options):
    """What is timed on the machine at hand."""

    mode: Literal["auto", "measure", "replay", "off"] = Field(
        "auto",
        description="auto: a GPU that is here, as far as the budget goes, and GPUs kept in resources/measured; "
        "measure: this machine, also a CPU, and all that is kept; replay: only what is kept, for the same files "
        "every run; off: nothing",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU, or else the CPU")
    budget_s: float = Field(6.0, gt=0, le=86_400, description="time to measure kernels, seconds")
    threads: int = Field(1, ge=1, description="threads of a CPU that is measured")


class Parallel(Options):
    """The worked examples of many GPUs."""

    compute: bool = Field(
        False, description="forecast the worked examples anew (two minutes) instead of showing their record"
    )


class Modern(Options):
    """Half precision on today's GPUs: a second artifact, fetched from the package index."""

    enabled: bool = Field(
        True, description="fetch the wheel of kernel timings (82 MB); without a network the page says so"
    )
    timeout_s: int = Field(600, gt=0, description="longest wait for that download, seconds")
    sample: int = Field(
        2000, ge=50, le=100_000, description="kernels a GPU on which an ordinary run repeats the recorded protocol"
    )
    seed: int = Field(0, ge=0, description="seed of that sample and of the protocol's trainings")


class Settings(Options):
    """The whole configuration."""

    artifact: Artifact = Field(default_factory=Artifact, description="the published artifact")
    graphs: Graphs = Field(default_factory=Graphs, description="models as kernel lists")
    labels: list[str] = Field(
        [], description="CSV files with further measured end-to-end latencies, in the `labels` table's columns"
    )
    devices: list[str] = Field(
        [], description="device files (YAML) of GPUs that these labels name and that data/devices does not hold"
    )
    claims: str = Field("config/claims.yaml", description="file of published claims to audit")
    predictor: Prediction = Field(default_factory=Prediction, description="the predictors computed here")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="statistics of the errors")
    parallel: Parallel = Field(default_factory=Parallel, description="worked examples of many GPUs")
    moe: Moe = Field(default_factory=Moe, description="experts on several GPUs")
    measure: Measure = Field(default_factory=Measure, description="timing on the machine at hand")
    numa: Numa = Field(default_factory=Numa, description="the host-memory locality study")
    modern: Modern = Field(default_factory=Modern, description="half precision on today's GPUs")


def load_config(config: dict[str, Any], where: str = "configuration") -> Settings:
    """Check a configuration mapping; the first error is raised as one line naming the key."""
    return validated(Settings, config, where, "docs/use/options.md lists every key")


def _options(section: type[BaseModel], values: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every option and section: its path of keys, description, and default value; a section has Ellipsis."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield (*above, name), field.description, ...
            yield from _options(inner, values[name], (*above, name))
        else:
            yield (*above, name), field.description, values[name]


def default_yaml() -> str:
    """The commented default configuration file."""
    head = "# Every option with its default. Written by `python -m tilecast.base.config`: change the model there."
    lines = [head]
    for path, description, value in _options(Settings, Settings().model_dump()):
        indent, written = "  " * (len(path) - 1), ""
        if value is not ...:
            flow = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
            written = " " + flow.removesuffix("\n").removesuffix("...").strip()
        lines += [f"{indent}# {description}", f"{indent}{path[-1]}:{written}"]
    return "\n".join(lines) + "\n"


def json_schema() -> str:
    """The JSON schema of the configuration."""
    return json.dumps(Settings.model_json_schema(), indent=2, sort_keys=True) + "\n"


def options_markdown() -> str:
    """The table of every option for the documentation."""
    lines = ["# Options\n\nWritten by `python -m tilecast.base.config` from the configuration model.\n"]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for path, description, value in _options(Settings, Settings().model_dump()):
        if value is not ...:
            meaning = description.replace("|", "\\|")
            lines.append(f"| `{'.'.join(path)}` | `{json.dumps(value)}` | {meaning} |")
    return "\n".join(lines) + "\n"


GENERATED = {
    "config/config.yaml": default_yaml,
    "workflow/schemas/config.schema.json": json_schema,
    "docs/use/options.md": options_markdown,
}

if __name__ == "__main__":
    for path, content in GENERATED.items():
        write_text(CHECKOUT / path, content())
