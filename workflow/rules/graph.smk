GRAPHS = [f"results/graphs/{cell}.parquet" for cell in settings.graphs.cells]
# The artifact's graphs are of one format and one attention: lists traced otherwise are no counterpart.
COMPARABLE = (
    GRAPHS
    if (settings.graphs.dtype, settings.graphs.attention, settings.graphs.routing)
    == ("fp32", "eager", "balanced")
    else []
)


if GRAPHS:

    # One job: importing torch and transformers costs as much as tracing ten models.
    rule graph_trace:
        input:
            models=model_files(settings.graphs.cells),
        output:
            GRAPHS,
        log:
            "results/logs/graph_trace.log",
        conda:
            "../../envs/torch.yaml"
        params:
            *code("graph_trace"),
            dtype=settings.graphs.dtype,
            attention=settings.graphs.attention,
            routing=settings.graphs.routing,
        script:
            "../scripts/graph_trace.py"


# The page shows it; resources/published/graph_differences.csv holds the same with the reasons, and a test recomputes that.
rule graph_compare:
    input:
        graphs="results/tidy/graphs.parquet",
        lists=COMPARABLE,
        models=model_files(
            str(Cell(model, "inference", 1, 1))
            for model in (
                "bert_large",
                "gpt2_large",
                "gpt3_27",
                "gpt3_xl",
                "opt_13",
                "switchxl4",
            )
        ),
    output:
        "results/graphs/differences.csv",
    log:
        "results/logs/graph_compare.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("graph_compare"),
    script:
        "../scripts/graph_compare.py"
