# One rule a module of src/tilecast/present/paper that makes paper tables: what it makes and reads stands there alone.
from tilecast.present.paper import catalog as paper

MAKERS = [
    paper.Maker(**said)
    for said in remembered(
        "present/paper/catalog",
        sorted(paper.FOLDER.glob("*.py")),
        lambda: [vars(maker) for maker in paper.makers()],
    )
]
TABLE_FILES = [
    *(file for maker in MAKERS for file in maker.files("csv", "html", "tex")),
    "results/tables/tables.pdf",
    "results/tables/tables.tex",
]


for maker in MAKERS:
    making = f"src/tilecast/present/paper/{maker.module}.py"

    rule:
        name:
            f"table_{maker.module}"
        input:
            tables=list(maker.tables),
        output:
            maker.files(*paper.FORMS),
        log:
            f"results/logs/table_{maker.module}.log",
        conda:
            "../../envs/report.yaml"
        params:
            *code("table", making, *declarations(maker.tables)),
            module=maker.module,
            declared=list(maker.tables.values()),
        script:
            "../scripts/table.py"


rule table_pdf:
    input:
        fragments=[file for maker in MAKERS for file in maker.files("typ")],
    output:
        pdf=report(
            "results/tables/tables.pdf",
            caption="../../report/captions/tables.rst",
            category="Tables",
            labels={"table": "All tables"},
        ),
        tex="results/tables/tables.tex",
    log:
        "results/logs/table_pdf.log",
    conda:
        "../../envs/report.yaml"
    params:
        *code("table_pdf"),
    script:
        "../scripts/table_pdf.py"
