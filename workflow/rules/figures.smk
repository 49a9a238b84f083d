# One rule a figure. A figure is a module of src/tilecast/present/figures: what it reads, its title and its caption
# stand there and nowhere else.
from tilecast.present.figures import catalog

# The stages that the configuration switches off, and their figures with them.
OFF = {
    "results/modern": not settings.modern.enabled,
    "results/measure": not MEASURED_SHOWN,
}
FIGURES = [
    figure
    for figure in (
        catalog.Figure(**said)
        for said in remembered(
            "present/figures/catalog",
            sorted(catalog.FOLDER.glob("*.py")),
            lambda: [vars(figure) for figure in catalog.figures()],
        )
    )
    if not any(off and figure.reads(folder) for folder, off in OFF.items())
]
FIGURE_FILES = [file for figure in FIGURES for file in figure.files().values()]
FIGURE_PARAMS = {"focus": MOE_FOCUS}


for figure in FIGURES:
    drawing = f"src/tilecast/present/figures/{figure.name}.py"

    rule:
        name:
            f"plot_{figure.name}"
        input:
            tables=list(figure.tables),
        output:
            **figure.files()
            | {
                "svg": report(
                    figure.files()["svg"],
                    caption="../../report/captions/figure.rst",
                    category="Figures",
                    subcategory=figure.group,
                    labels={"figure": figure.title},
                )
            },
        log:
            f"results/logs/plot_{figure.name}.log",
        conda:
            "../../envs/report.yaml"
        params:
            *code("plot", drawing, *declarations(figure.tables)),
            name=figure.name,
            declared=list(figure.tables.values()),
            arguments={name: FIGURE_PARAMS[name] for name in figure.params},
            caption=figure.caption,
        script:
            "../scripts/plot.py"
