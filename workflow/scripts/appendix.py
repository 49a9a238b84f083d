"""Write the artifact appendix, as Markdown and as a PDF."""

from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.evaluate.claims import load_claims
from tilecast.present.paper.appendix import as_markdown, as_typst
from tilecast.present.paper.pdf import set_pdf
from tilecast.tables.declared.claims import CLAIMS
from tilecast.tables.declared.results import MINUTES
from tilecast.tables.io import read


def appendix(template: str, claims: str, verdicts: str, minutes: str, markdown: str, pdf: str) -> None:
    """Both forms say the same."""
    words = Path(template).read_text(encoding="utf-8")
    text = as_markdown(words, load_claims(claims), read(verdicts, CLAIMS), read(minutes, MINUTES))
    write_text(markdown, text)
    set_pdf(as_typst(text), pdf)


if __name__ == "__main__":
    run_step(
        appendix,
        snakemake,
        template=snakemake.input.template,
        claims=snakemake.input.claims,
        verdicts=snakemake.input.verdicts,
        minutes=snakemake.input.minutes,
        markdown=snakemake.output.markdown,
        pdf=snakemake.output.pdf,
    )
