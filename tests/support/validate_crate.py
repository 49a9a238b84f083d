"""Hold RO-Crate metadata against a profile with roc-validator: `python validate_crate.py FOLDER PROFILE`.

It runs in the environment of requirements/package.txt. The validator fetches the JSON-LD contexts that a crate
names; no test asks a network, so these are answered here, with the terms that our crates use and what each stands
for by RO-Crate 1.1 and Workflow Run RO-Crate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from requests import Response
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester

SCHEMA, BIOSCHEMAS = "http://schema.org/", "https://bioschemas.org/"
WORDS = (
    "about agent author contentSize datePublished description encodingFormat hasPart identifier instrument "
    "license mainEntity mentions name object programmingLanguage result url version "
    "ComputerLanguage CreateAction CreativeWork Dataset Organization SoftwareSourceCode"
)
TERMS = {word: SCHEMA + word for word in WORDS.split(" ")} | {
    "File": f"{SCHEMA}MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
    "sha256": "https://w3id.org/ro/terms/workflow-run#sha256",
}


def answered(_: HttpRequester, source: str, **__: object) -> Response:
    """Either context."""
    assert source.startswith("https://w3id.org/ro/"), source
    response = Response()
    response.status_code, response.headers["Content-Type"] = 200, "application/ld+json"
    response._content = json.dumps({"@context": TERMS}).encode()
    return response


def main(folder: Path, profile: str) -> int:
    """Print every issue of a requirement; 1 if there is one."""
    HttpRequester.get = answered
    settings = ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
    )
    result = services.validate(settings)
    issues = result.get_issues(min_severity=Severity.REQUIRED)
    for issue in issues:
        print(f"{issue.check.identifier}: {issue.message} ({issue.violatingEntity})")
    print(f"{folder}: {profile}, {len(result.executed_checks)} checks, {len(issues)} issues")
    return int(bool(issues) or not result.executed_checks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
