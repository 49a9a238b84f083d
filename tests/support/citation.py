"""Write codemeta.json and .zenodo.json from CITATION.cff: `python citation.py`, for `make metadata`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def citation() -> dict[str, Any]:
    """What CITATION.cff says; every value is taken as text, the date too."""
    return yaml.load((ROOT / "CITATION.cff").read_text(), Loader=yaml.BaseLoader)


def codemeta(cited: dict[str, Any]) -> dict[str, Any]:
    """CodeMeta 3.0."""
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": "Tilecast",
        "description": cited["abstract"],
        "version": cited["version"],
        "datePublished": cited["date-released"],
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": ["Python", "Snakemake"],
        "operatingSystem": "Linux",
        "referencePublication": [
            {"@type": "ScholarlyArticle", "name": one["title"], "@id": f"https://doi.org/{one['doi']}"}
            for one in cited["references"]
        ],
    }


def zenodo(cited: dict[str, Any]) -> dict[str, Any]:
    """What Zenodo takes for a deposit of software."""
    return {
        "upload_type": "software",
        "title": cited["title"],
        "description": cited["abstract"],
        "version": cited["version"],
        "publication_date": cited["date-released"],
        "access_right": "open",
        "license": cited["license"],
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "related_identifiers": [
            {"identifier": one["doi"], "scheme": "doi", "relation": "reviews"} for one in cited["references"]
        ],
    }


def files() -> dict[str, str]:
    """Both files, by name."""
    made = {"codemeta.json": codemeta(citation()), ".zenodo.json": zenodo(citation())}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).write_text(text)
