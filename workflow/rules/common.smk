import atexit
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path


def project(here):
    """Where this project's files lie: two folders above `here`, or unpacked, for a module of a hosted repository.

    Snakemake fetches only rules and scripts of such a module; the library and its data come from the same commit.
    """
    if not hasattr(here, "hosted_repo"):
        return Path(os.path.abspath(str(here))).parents[1]
    repository = here.hosted_repo.repo
    commit = repository.commit(here.ref).hexsha
    target = Path(".snakemake/tilecast", commit).absolute()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            repository.git.archive(commit, output=f"{scratch}/tree.tar")
            shutil.unpack_archive(
                f"{scratch}/tree.tar", f"{scratch}/tree", filter="data"
            )
            os.replace(f"{scratch}/tree", target)
    return target


ROOT = project(workflow.current_basedir)
# PYTHONPATH cannot hold a colon: jobs would import whichever tilecast is installed. Snakemake takes braces for wildcards.
if set(":{}") & set(str(ROOT)):
    print(
        f"tilecast: error: {ROOT}: a path with a colon or a brace cannot be used; move the clone",
        file=sys.stderr,
    )
    raise SystemExit(1)
sys.path.insert(0, str(ROOT / "src"))

from snakemake.io import sourcecache_entry

from tilecast.base.code_graph import CodeGraph
from tilecast.base.config import load_config
from tilecast.base.errors import TilecastError
from tilecast.models.registry import load_model
from tilecast.present.constants import stages
from tilecast.models.choices import Cell
from tilecast.base.run_lock import HOLD, claim, end_on_sigterm, end_orphans

# Conda jobs drop PYTHONPATH, but keep the shell prefix: the library reaches them this way.
library = shlex.quote(f"{ROOT / 'src'}:{ROOT / 'workflow/site'}")
hold = "" if workflow.remote_exec else HOLD
shell.prefix(f"{hold}export PYTHONPATH={library} PYTHONDONTWRITEBYTECODE=1; ")


onstart:
    try:
        told = end_orphans(Path(".snakemake"))
    except TilecastError as error:
        stop(error)
    if told:
        print(f"tilecast: {told}", file=sys.stderr)
    end_on_sigterm()
    # A second after each look for jobs Snakemake looks again, for jobs a second are capped, and each job that ends begins
    # one more such chain of looks, which work out the parameters of all that wait. Here the cores are cap enough.
    if workflow.resource_settings.nodes is None:
        workflow.scheduler.job_rate_limiter = None


onerror:
    files = [log] if isinstance(log, str) else log
    signs = ("on user request", "SIGINT", "exit status 130")
    if any(sign in Path(file).read_text() for file in files for sign in signs):
        print(
            "tilecast: interrupted; what is finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )


def stop(message):
    """End before anything runs, with one line."""
    print(f"tilecast: error: {message}", file=sys.stderr)
    raise SystemExit(1)


try:
    settings = load_config(config)
except TilecastError as error:
    stop(error)


if workflow.is_main_process:
    if not os.access(".snakemake" if os.path.exists(".snakemake") else ".", os.W_OK):
        stop(
            f"{os.getcwd()}: Permission denied: run in a folder in which you may write"
        )
    told = claim(
        Path(".snakemake"), cluster=workflow.resource_settings.nodes is not None
    )
    if told:
        print(f"tilecast: {told}", file=sys.stderr)


def shipped(path):
    """A file of this project as an input: found beside the workflow wherever a job runs, never in remote storage."""
    file = os.path.relpath(ROOT / path)
    return sourcecache_entry(file, file)


def shipped_folder(path, pattern):
    """The shipped files of a folder that match, in a fixed order."""
    return [shipped(file) for file in sorted((ROOT / path).glob(pattern))]


CODE = CodeGraph(ROOT / "src", Path(".snakemake/tilecast/known"))
atexit.register(CODE.save)


def contents(path, pattern):
    """The shipped files of a folder that match, a line each with its checksum: parameters, as `code` is."""
    found = sorted((ROOT / path).glob(pattern))
    return [f"{file.relative_to(ROOT)} {CODE.digest(file)}" for file in found]


def remembered(module, files, compute, *given):
    """The plain data that `compute` makes of files by a module of the library: found anew where any of these changed."""
    try:
        return CODE.remembered(
            ROOT / f"src/tilecast/{module}.py", map(Path, files), compute, *given
        )
    except TilecastError as error:
        stop(error)


SYSTEMS = contents("src/tilecast/data/systems", "*.yaml")
MODELS = contents("src/tilecast/data/models", "*.json")


def all_cores():
    """Every core, for steps that nothing may run beside; one on a cluster, where a job's node is its own."""
    return workflow.resource_settings.cores or 1


def given(path):
    """A file that the configuration names: the user's, which is on this machine alone, or the one shipped here."""
    user = Path(path).exists() and Path(path).resolve() != (ROOT / path).resolve()
    return local(path) if user else shipped(path)


def code(script, *further):
    """What `workflow/scripts/<script>.py` and further Python files of this project run: a line a module, with its checksum.

    Parameters, and no inputs: of three thousand more inputs Snakemake would ask when each was changed, and which rule
    makes it. Its reason to run a job names the modules that changed.
    """
    files = {
        file
        for path in (f"workflow/scripts/{script}.py", *further)
        for file in CODE.imported_files(ROOT / path)
    }
    return [f"{file.relative_to(ROOT)} {CODE.digest(file)}" for file in sorted(files)]


def mirror_counts():
    """Whether a mirror is configured, as the fetch that served saw it; anew after a run on transcribed figures alone.

    So a mirror that appears later re-runs such a fetch, and one that vanishes does not undo a complete one.
    """
    try:
        record = json.loads(Path(RECORD).read_text())
    except (OSError, ValueError):
        record = {}
    if record.get("source") in ("mirror", "git"):
        return record["mirror_configured"]
    mirror = settings.artifact.mirror_path()
    if (
        "mirror" in settings.artifact.sources
        and mirror is not None
        and not mirror.is_dir()
    ):
        stop(
            f"{mirror}: the mirror is not a directory; set artifact.mirror or TILECAST_MIRROR, or neither"
        )
    return mirror is not None


def model_files(cells):
    """The configurations that cells are traced from; a name such as vit16x12x768 needs none."""
    try:
        models = {Cell.parse(cell).model for cell in cells}
        sources = {load_model(model).source for model in models}
    except TilecastError as error:
        stop(error)
    return [shipped(file) for file in sorted(sources) if file.endswith(".json")]


def predictor_code(*names):
    """The Python files that the named predictors are made of: modules of this project, and a user's own files."""
    modules = [PREDICTORS[name].split(":")[0] for name in names if name not in SOURCES]
    return [
        *(f"src/{module.replace('.', '/')}.py" for module in modules),
        *(SOURCES[name].absolute() for name in names if name in SOURCES),
    ]


def own_code(*names):
    """The user's files that predictors of their own are made of: inputs."""
    return [local(str(SOURCES[name])) for name in names if name in SOURCES]


def weights(name):
    """The record of the weights a predictor uses, which lies beside them: shipped, or trained here."""
    if name not in TRAINED:
        return []
    if settings.predictor.train:
        return f"results/predict/trained/{name}/record.json"
    return shipped(f"src/tilecast/data/weights/{name}/record.json")


def declarations(tables):
    """The modules by which declared tables, each named `<stage>.<table>`, are read."""
    return [f"src/tilecast/tables/declared/{stage}.py" for stage in stages(tables)]


def forced(rule, target):
    """Whether the command line asks to run a rule again even though its output is there."""
    asked = workflow.dag_settings
    return (
        asked.forceall
        or bool({rule, target} & set(asked.forcerun))
        or (asked.forcetargets and bool({rule, target} & set(asked.targets)))
    )


def figures_of_devices():
    """What each device file says, as a checksum: a parameter and no input, so that a comment in one re-runs nothing."""
    from tilecast.hardware.device_file import devices

    return {
        name: hashlib.sha256(repr(device).encode()).hexdigest()[:16]
        for name, device in devices().items()
    }


def claimed():
    """The tables that the claims need; a claim that cannot be computed ends the run before it begins."""
    from tilecast.evaluate import claims, selectable

    cells = selectable.known_cells(PUBLISHED_CELLS, settings.labels)
    loaded = claims.load_claims(CLAIMS_FILE)
    selectable.check_claims(loaded, claims.load_facts(FACTS), cells, CLAIMS_FILE)
    return {name: claims.DATASETS[name] for name in loaded.datasets()}


def expanded():
    """Whether every study can be expanded: what cannot be ends the run before it begins."""
    from tilecast.locality.study import load_study

    return all(load_study(file, OVERRIDES) for file in STUDIES.values())


def made_by_steps():
    """What each step makes, within the folder of results; a star stands for what a wildcard names."""
    made = {
        step.name: sorted(
            re.sub(r"\{.*?\}", "*", str(file)).removeprefix("results/")
            for file in step.output
            if str(file).startswith("results/")
        )
        for step in workflow.rules
    }
    return {name: files for name, files in sorted(made.items()) if files}
