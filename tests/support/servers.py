"""What the Kubernetes profile talks to, on the loopback: an S3 server, and the little of Kubernetes that it asks.

The S3 server is moto's. The Kubernetes API is a stand-in: a job it is given runs at once as a process here, in an
empty folder, with the environment of its secrets and nothing else of ours than a Python that has the plugins; or,
where TILECAST_IMAGE names an image built from the Dockerfile, in a container of its own (pod.sh).
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEYS = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "access-7319", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "secret-7319"}


class Bucket:
    """An S3 server with one bucket."""

    def __init__(self, url: str, client: Any) -> None:
        self.url, self.client = url, client
        client.create_bucket(Bucket="tilecast")

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Every object below a prefix, by the rest of its key; logs are no results."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="tilecast", Prefix=prefix)
        keys = [
            found["Key"] for page in pages for found in page.get("Contents", []) if "/logs/" not in found["Key"]
        ]
        bodies = {key: self.client.get_object(Bucket="tilecast", Key=key)["Body"] for key in keys}
        return {key.removeprefix(prefix): body.read() for key, body in bodies.items()}


@contextlib.contextmanager
def bucket(plugins: str) -> Iterator[Bucket]:
    """The S3 server, up; `plugins` is the folder where it and its client are installed."""
    sys.path.append(plugins)
    try:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            url = "http://{}:{}".format(*server.get_host_and_port())
            names = {
                "aws_access_key_id": "access-7319",
                "aws_secret_access_key": "secret-7319",
                "region_name": "us-east-1",
            }
            yield Bucket(url, boto3.client("s3", endpoint_url=url, **names))
        finally:
            server.stop()
    finally:
        sys.path.remove(plugins)


class Kubernetes:
    """The jobs and secrets of a namespace."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.secrets: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}  # `command`, and `code` and `output` of its end

    def create_job(self, job: dict[str, Any]) -> None:
        """Run the job's container as a process in an empty folder."""
        container = job["spec"]["template"]["spec"]["containers"][0]
        variables = dict(self.environment)
        for variable in container.get("env", []):
            source = variable["valueFrom"]["secretKeyRef"]
            variables[variable["name"]] = base64.b64decode(self.secrets[source["name"]][source["key"]]).decode()
        record = {"command": container["args"][-1], "code": None}
        self.jobs[job["metadata"]["name"]] = record
        threading.Thread(target=self._run, args=(record, variables), daemon=True).start()

    def _run(self, job: dict[str, Any], variables: dict[str, str]) -> None:
        container = [str(Path(__file__).with_name("pod.sh"))] if os.environ.get("TILECAST_IMAGE") else []
        with tempfile.TemporaryDirectory(prefix="pod-") as folder:
            done = subprocess.run(
                [*container, "/bin/sh", "-c", job["command"]],
                cwd=folder,
                env={**variables, "HOME": folder} if not container else os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        job.update(output=done.stdout, code=done.returncode)

    def status(self, name: str) -> dict[str, int]:
        """A job's status as the API words it."""
        code = self.jobs[name]["code"]
        return {} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}


@contextlib.contextmanager
def kubernetes(folder: Path, plugins: str) -> Iterator[tuple[Kubernetes, str]]:
    """The API, up; yields it and the path of a kubeconfig that leads to it."""
    image = folder / "image"  # what a pod finds on its PATH
    image.mkdir(parents=True)
    (image / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (image / "pip").write_text("#!/bin/sh\n# the image holds the plugins already\n")
    for program in image.iterdir():
        program.chmod(0o755)
    path = f"{image}{os.pathsep}{os.defpath}"
    api = Kubernetes({"PATH": path, "PYTHONPATH": plugins, "LANG": "C.UTF-8"})

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content: dict[str, Any], code: int = 200) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/secrets"):
                api.secrets[body["metadata"]["name"]] = body.get("data", {})
            else:
                api.create_job(body)
            self.answer(body, 201)

        def do_GET(self) -> None:
            if found := re.search(r"/jobs/([\w-]+)/status", self.path):
                self.answer({"kind": "Job", "apiVersion": "batch/v1", "status": api.status(found[1])})
            else:
                self.answer({"kind": "PodList", "apiVersion": "v1", "items": []})

        def do_DELETE(self) -> None:
            self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    named = {"name": "test"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [named | {"user": {}}],
        "contexts": [named | {"context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    try:
        yield api, str(folder / "kubeconfig")
    finally:
        server.shutdown()
        server.server_close()
