"""RO-Crate metadata of a folder: which files it holds, what they are, and what made them.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1); `run_crate` adds what the profile Workflow Run Crate 0.5 asks for
(https://w3id.org/ro/wfrun/workflow/0.5). No time of a run is in it, so the same results give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from tilecast import __released__, __version__
from tilecast.tables.results import digest_of, files_made

NAME = "ro-crate-metadata.json"
LICENCE = "https://spdx.org/licenses/MIT"
AUTHORS = "#authors"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".zip": "application/zip",
}
Entity = dict[str, object]
File = tuple[int, str]  # bytes, SHA-256


def crate(about: Entity, files: Mapping[str, File], further: Iterable[Entity] = ()) -> bytes:
    """Metadata of a folder with these files; `about` adds to its description, `further` to that of its files."""
    added = {str(entity["@id"]): entity for entity in further}
    parts = [_file(name, *files[name]) | added.pop(name, {}) for name in sorted(files)]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "datePublished": __released__,
        "license": _reference(LICENCE),
        "author": _reference(AUTHORS),
        "hasPart": [_reference(str(part["@id"])) for part in parts],
    }
    known: list[Entity] = [
        {"@id": LICENCE, "@type": "CreativeWork", "name": "MIT License", "identifier": "MIT"},
        {"@id": AUTHORS, "@type": "Organization", "name": "The Tilecast authors"},
    ]
    conforms: list[Entity] = [_reference("https://w3id.org/ro/crate/1.1")]
    if "mainEntity" in about:
        conforms.append(_reference(WORKFLOW_CRATE))
    head: Entity = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": conforms if len(conforms) > 1 else conforms[0],
        "about": _reference("./"),
    }
    contexts = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
    whole = {"@context": contexts, "@graph": [head, root | about, *known, *parts, *added.values()]}
    return (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode()


def run_crate(folder: Path, steps: Mapping[str, Iterable[str]]) -> bytes:
    """Metadata of a run's results: `steps` are the patterns of the files that each step of the workflow makes.

    The folder's `run/` holds what the run was made from: the workflow, and the settings.
    """
    made = {
        step: [name for name in files_made(folder, patterns) if name != NAME] for step, patterns in steps.items()
    }
    files = {
        name: ((folder / name).stat().st_size, digest_of(folder / name))
        for name in sorted({name for names in made.values() for name in names})
    }
    given = [name for name in files if name.startswith("run/")]
    results = sorted(set(files) - set(given))
    workflow = "run/Snakefile"
    software: Entity = {
        "@id": workflow,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "Tilecast",
        "version": __version__,
        "license": _reference(LICENCE),
        "author": _reference(AUTHORS),
        "programmingLanguage": _reference(LANGUAGE),
        "hasPart": [_reference(f"#{step}") for step, names in made.items() if names],
    }
    further: list[Entity] = [
        software,
        {
            "@id": LANGUAGE,
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "url": "https://snakemake.readthedocs.io",
            "identifier": "https://snakemake.readthedocs.io",
        },
        _action("#run", "a run of the whole workflow", workflow, given, results),
    ]
    for url, (name, version) in PROFILES.items():
        further.append({"@id": url, "@type": "CreativeWork", "name": name, "version": version})
    for step, names in made.items():
        if names:
            further.append(
                {"@id": f"#{step}", "@type": "SoftwareSourceCode", "name": step, "version": __version__}
            )
            further.append(_action(f"#run-{step}", f"the step {step}", f"#{step}", (), names))
    about: Entity = {
        "name": "Results of Tilecast",
        "description": "An artifact evaluation of GPU performance forecasting: verdicts, tables, figures, report.",
        "conformsTo": [_reference(url) for url in PROFILES],
        "mainEntity": _reference(workflow),
        "mentions": [_reference(str(entity["@id"])) for entity in further if entity["@type"] == "CreateAction"],
    }
    return crate(about, files, further)


def _action(name: str, words: str, instrument: str, given: Iterable[str], made: Iterable[str]) -> Entity:
    return {
        "@id": name,
        "@type": "CreateAction",
        "name": words,
        "agent": _reference(AUTHORS),
        "instrument": _reference(instrument),
        "object": [_reference(one) for one in given],
        "result": [_reference(one) for one in made],
    }


def _file(name: str, size: int, digest: str) -> Entity:
    kind = FORMATS.get(PurePosixPath(name).suffix)
    form = {"encodingFormat": kind} if kind else {}
    return {"@id": name, "@type": "File", **form, "contentSize": str(size), "sha256": digest}


def _reference(identifier: str) -> Entity:
    return {"@id": identifier}
