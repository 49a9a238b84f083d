# All that a job needs, for Kubernetes and for anyone who would rather run a container. The base is named by its digest,
# which is asked for and not kept here, so that nobody builds on one that is years old (docs/develop/dependencies.md):
#   docker pull python:3.12-slim-bookworm
#   docker build -t tilecast --build-arg \
#     PYTHON="$(docker image inspect --format '{{index .RepoDigests 0}}' python:3.12-slim-bookworm)" .
#   docker run --rm -v "$PWD":/work -w /work tilecast snakemake --cores all
# The workflow itself is not in the image: Kubernetes jobs receive it as an archive, `docker run` sees the folder.
# envs/Dockerfile is the other way, one conda environment a rule, as `snakemake --containerize` writes it.
# Any image with apt, and a `python` and `pip` of Python 3.11 to 3.13 on its path, will do: python@sha256:…
ARG PYTHON
FROM $PYTHON
# Where torch comes from: as pip is configured, which may be a build with CUDA, of gigabytes; or an index of CPU builds.
ARG TORCH_INDEX=
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements/ /opt/requirements/
# What a pod installs again (below) is kept as the wheel that was checked.
RUN LOCKED="--no-cache-dir --require-hashes --no-deps --only-binary :all:" \
    && pip install $LOCKED -r /opt/requirements/lock.txt \
    && pip download $LOCKED --dest /opt/wheels -r /opt/requirements/cluster.txt \
    && pip install $LOCKED --no-index --find-links /opt/wheels -r /opt/requirements/cluster.txt \
    && find /opt/wheels -type f ! -name 'snakemake_storage_plugin_*' -delete \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /opt/requirements/torch.txt
# A pod first installs its storage plugin again, beside the rest: that wheel, asking no index, on what is here.
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PIP_NO_DEPS=1
RUN useradd --create-home tilecast
USER tilecast
