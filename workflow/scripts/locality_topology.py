"""Reads which nodes this host has, or the recorded one, and next to which of them each GPU is."""

import json

from tilecast.base.documents import read_json
from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.locality.topology import read_topology


def locality_topology(record: str, output: str) -> None:
    """Write nodes, GPUs and whether locality can be tested: here, or where a given record was made."""
    if record:
        topology = {"host": "the host of the record", **read_json(record)["topology"]}
    else:
        topology = {"host": "this host", **read_topology()}
    write_text(output, json.dumps(topology, indent=1) + "\n")
    print(topology["verdict"])


if __name__ == "__main__":
    run_step(locality_topology, snakemake, record=snakemake.input.record, output=snakemake.output[0])
