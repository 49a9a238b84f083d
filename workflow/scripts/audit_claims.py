"""Compute every published claim from the tables and judge it."""

from collections.abc import Mapping

from tilecast.base.job import run_step
from tilecast.evaluate.audit import audit
from tilecast.evaluate.claims import TABLES, load_claims, load_facts
from tilecast.tables.declared.claims import CLAIM_ROWS, CLAIMS
from tilecast.tables.io import read, write


def audit_claims(claims: str, facts: str, tables: Mapping[str, str], verdicts: str, rows: str) -> None:
    """Write the verdict on every claim, and the rows it rests on."""
    loaded = load_claims(claims)
    frames = {name: read(tables[name], TABLES[name]) for name in loaded.datasets()}
    found, evidence = audit(loaded, frames, load_facts(facts), claims)
    write(found, verdicts, CLAIMS)
    write(evidence, rows, CLAIM_ROWS)
    print(found["verdict"].value_counts().to_string())


if __name__ == "__main__":
    run_step(
        audit_claims,
        snakemake,
        claims=snakemake.input.claims,
        facts=snakemake.input.facts,
        tables=dict(snakemake.input.items()),
        verdicts=snakemake.output.claims,
        rows=snakemake.output.rows,
    )
