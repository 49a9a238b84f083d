"""Reads which nodes this host has, and next to which of them each GPU is."""

import json

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.locality.topology import read_topology


def locality_topology(output: str) -> None:
    """Write nodes, GPUs and whether locality can be tested here."""
    topology = read_topology()
    write_text(output, json.dumps(topology, indent=1) + "\n")
    print(topology["verdict"])


if __name__ == "__main__":
    run_step(locality_topology, snakemake, output=snakemake.output[0])
