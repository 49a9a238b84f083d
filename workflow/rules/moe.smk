from tilecast.moe.names import figure_names, focus_of

try:  # only names: the study itself is checked by the rules that read it
    MOE_STUDY = given(settings.moe.study)
    MOE_NAMES = figure_names(MOE_STUDY)
    MOE_FOCUS = focus_of(MOE_STUDY)
except TilecastError as error:
    stop(error)

MOE_TABLES = expand(
    "results/moe/{name}.csv",
    name=[
        "data/all_systems_comparison",
        "layouts",
        "models",
        "tornado",
        "where",
        "alltoall",
        "alltoall_errors",
        "anchors",
        "gains",
        "overlap_recorded",
    ],
)
MOE_STUDY_FIGURES = expand(
    "results/moe/figures/{name}.{kind}",
    name=[
        *expand(
            "{what}_{end}",
            what=[
                "throughput_comparison",
                "communication_overhead",
                "cost_efficiency",
            ],
            end=MOE_NAMES.values(),
        ),
        "cross_system_comparison",
    ],
    kind=["pdf", "png"],
)
# What the default run makes of this stage, and what of it the page reads.
MOE_TARGETS = [
    *MOE_TABLES,
    *expand("results/moe/data/results_{system}.csv", system=MOE_NAMES),
    *expand("results/moe/SUMMARY_{system}.md", system=MOE_NAMES),
    "results/moe/logs/multi_gpu_analysis.log",
    "results/moe/tables/cross_system.tex",
    *MOE_STUDY_FIGURES,
]
MOE_REPORT = MOE_TABLES


rule moe_study:
    input:
        study=MOE_STUDY,
        curves=shipped("src/tilecast/data/collectives.json"),
        weights=weights("tilecast"),
        halves=MODERN_WEIGHTS,
        measured=shipped("resources/published/moe_alltoall.csv"),
        anchors=shipped("resources/published/moe_anchors.yaml"),
        overlap=shipped_folder("resources/measured/moe_overlap", "*.csv"),
    output:
        everything="results/moe/data/all_systems_comparison.csv",
        systems=expand("results/moe/data/results_{system}.csv", system=MOE_NAMES),
        layouts="results/moe/layouts.csv",
        models="results/moe/models.csv",
        tornado="results/moe/tornado.csv",
        where="results/moe/where.csv",
        alltoall="results/moe/alltoall.csv",
        errors="results/moe/alltoall_errors.csv",
        anchors="results/moe/anchors.csv",
        gains="results/moe/gains.csv",
        overlap="results/moe/overlap_recorded.csv",
        debug="results/moe/logs/debug.log",
    log:
        "results/logs/moe_study.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("moe_study", *predictor_code("tilecast")),
        *SYSTEMS,
        *MODELS,
        figures=FIGURES,
    script:
        "../scripts/moe_study.py"


rule moe_text:
    input:
        systems="results/moe/data/all_systems_comparison.csv",
        errors="results/moe/alltoall_errors.csv",
        template=shipped("report/paper/moe.tex.j2"),
    output:
        **{
            kind: f"results/moe/tables/cross_system.{kind}"
            for kind in ("csv", "html", "tex", "typ")
        },
        summaries=expand("results/moe/SUMMARY_{system}.md", system=MOE_NAMES),
        log="results/moe/logs/multi_gpu_analysis.log",
        paragraph="results/moe/paragraph.tex",
    log:
        "results/logs/moe_text.log",
    conda:
        "../../envs/report.yaml"
    params:
        *code("moe_text"),
        title=settings.moe.study,
        focus=MOE_FOCUS,
    script:
        "../scripts/moe_text.py"


rule plot_moe_study:
    input:
        systems="results/moe/data/all_systems_comparison.csv",
    output:
        MOE_STUDY_FIGURES,
    log:
        "results/logs/plot_moe_study.log",
    conda:
        "../../envs/report.yaml"
    params:
        *code("plot_moe_study"),
        names=MOE_NAMES,
    script:
        "../scripts/plot_moe_study.py"


rule moe_overlap:
    output:
        "results/moe/overlap.csv",
    log:
        "results/logs/moe_overlap.log",
    conda:
        "../../envs/torch.yaml"
    params:
        device=settings.moe.overlap_device,
    script:
        "../scripts/moe_overlap.py"
