# All that a job needs, for Kubernetes and for anyone who would rather run a container:
#   docker build -t tilecast . && docker run --rm -v "$PWD":/work -w /work tilecast snakemake --cores all
# The workflow itself is not in the image: Kubernetes jobs receive it as an archive, `docker run` sees the folder.
# envs/Dockerfile is the other way, one conda environment a rule, as `snakemake --containerize` writes it.
# Any image with apt, and a `python` and `pip` of Python 3.11 to 3.13 on its path, will do.
ARG PYTHON=python:3.12-slim-bookworm
FROM $PYTHON
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements/ /opt/requirements/
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' /opt/requirements/lock.txt)" \
    && pip install --no-cache-dir -r /opt/requirements/lock.txt \
    && pip install --no-cache-dir --no-deps -r /opt/requirements/cluster.txt
# A pod first installs its storage plugin again, beside the rest: this version, on what is here, not the newest of all.
ENV PIP_CONSTRAINT=/opt/requirements/cluster.txt PIP_NO_DEPS=1
RUN useradd --create-home tilecast
USER tilecast
