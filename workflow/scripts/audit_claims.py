"""Compute every published claim from the tables and judge it, and the artifact in the words of badges."""

from collections.abc import Mapping

from tilecast.base.documents import read_json
from tilecast.base.job import run_step
from tilecast.evaluate.audit import audit
from tilecast.evaluate.badges import badges
from tilecast.evaluate.claims import TABLES, load_claims, load_facts
from tilecast.tables.declared.claims import BADGES, CLAIM_ROWS, CLAIMS
from tilecast.tables.io import read, write


def audit_claims(given: Mapping[str, str], made: Mapping[str, str]) -> None:
    """Write the verdict on every claim, the rows it rests on, and which badges the artifact earns."""
    loaded = load_claims(given["claims"])
    frames = {name: read(given[name], TABLES[name]) for name in loaded.datasets()}
    found, evidence = audit(loaded, frames, load_facts(given["facts"]), given["claims"])
    earned = badges(found, frames["summary_comparison"], frames["defects"], read_json(given["source"]))
    for table, output, declared in (
        (found, "claims", CLAIMS),
        (evidence, "rows", CLAIM_ROWS),
        (earned, "badges", BADGES),
    ):
        write(table, made[output], declared)
    print(found["verdict"].value_counts().to_string())


if __name__ == "__main__":
    run_step(audit_claims, snakemake, given=dict(snakemake.input.items()), made=dict(snakemake.output.items()))
