# All that a job needs, for Kubernetes and for anyone who would rather run a container:
#   docker build -t tilecast . && docker run --rm -v "$PWD":/work -w /work tilecast snakemake --cores all
# The workflow itself is not in the image: Kubernetes jobs receive it as an archive, `docker run` sees the folder.
# envs/Dockerfile is the other way, one conda environment a rule, as `snakemake --containerize` writes it.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements/ /opt/requirements/
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' /opt/requirements/lock.txt)" \
    && pip install --no-cache-dir -r /opt/requirements/lock.txt \
    && pip install --no-cache-dir --no-deps -r /opt/requirements/cluster.txt
RUN useradd --create-home tilecast
USER tilecast
