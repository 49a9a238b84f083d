ARCHIVE = "results/artifact/neusight.zip"
RECORD = "results/artifact/source.json"


rule fetch_artifact:
    input:
        lock=shipped("resources/artifact.lock.tsv"),
    output:
        archive=ARCHIVE,
        record=RECORD,
    log:
        "results/logs/fetch_artifact.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("fetch_artifact"),
        repository=settings.artifact.repository,
        commit=settings.artifact.commit,
        sources=settings.artifact.sources,
        mirror_configured=mirror_counts(),
        # Not tracked (the function takes `input`): where the files lie and how long to wait change no result.
        place=lambda wildcards, input: {
            "mirror": (
                str(settings.artifact.mirror_path())
                if settings.artifact.mirror_path()
                else None
            ),
            "timeout_s": settings.artifact.timeout_s,
            "attempts": settings.artifact.attempts,
        },
    script:
        "../scripts/fetch_artifact.py"
