import json

ARCHIVE = "results/artifact/neusight.zip"
RECORD = "results/artifact/source.json"


def mirror_counts():
    """Whether a mirror is configured, as the fetch that served saw it; anew after a run on transcribed figures alone.

    So a mirror that appears later re-runs such a fetch, and one that vanishes does not undo a complete one.
    """
    try:
        record = json.loads(Path(RECORD).read_text())
    except (OSError, ValueError):
        record = {}
    if record.get("source") in ("mirror", "git"):
        return record["mirror_configured"]
    mirror = settings.artifact.mirror_path()
    if (
        "mirror" in settings.artifact.sources
        and mirror is not None
        and not mirror.is_dir()
    ):
        stop(
            f"{mirror}: the mirror is not a directory; set artifact.mirror or TILECAST_MIRROR, or neither"
        )
    return mirror is not None


rule fetch_artifact:
    input:
        lock="resources/artifact.lock.tsv",
        code=code("fetch_artifact"),
    output:
        archive=ARCHIVE,
        record=RECORD,
    log:
        "results/logs/fetch_artifact.log",
    conda:
        "../../envs/analysis.yaml"
    params:
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
