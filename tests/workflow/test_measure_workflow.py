"""Measuring in the workflow: what varies stays in its own tables and section; a mistake changes no data."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from copies import Copy

pytestmark = pytest.mark.slow

TARGETS = ["results/measure/machines.json", "results/figures/measure_validation.svg"]
PAGE = "results/report/machine.html"
# Where live measurements may show; where something is measured, the host of the locality study is this one.
RUN = ("run/", "ro-crate-metadata.json")  # what the run was made with, and of what
OWN = ("measure/", "measured/", "figures/measure_", "numa/topology.json")


def measuring(text: str, mode: str, **more: object) -> str:
    """A configuration that measures the CPU for seconds."""
    config = yaml.safe_load(text)
    values = {"mode": mode, "budget_s": 1.5, "device": "cpu"} | more
    return yaml.safe_dump(config | {"measure": config["measure"] | values})


def configure(copy: Copy, mode: str, **more: object) -> None:
    path = copy.root / "config/config.yaml"
    path.write_text(measuring(path.read_text(), mode, **more))


def sections(page: str) -> dict[str, str]:
    """A page's sections by their ids; what surrounds them is one as well, but for the entries of the search."""
    page = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    found = dict(re.findall(r'<section id="([\w-]+)"(.*?)</section>', page, re.S))
    return found | {"": re.sub(r'<section id="([\w-]+)"(.*?)</section>', "", page, flags=re.S)}


@pytest.fixture
def live(finished: Copy, tmp_path: Path) -> Copy:
    """A finished copy, to measure in."""
    shutil.copytree(finished.root, tmp_path / "live", symlinks=True)
    return Copy(tmp_path / "live", finished.environment)


def test_live_measurements_change_their_own_tables_and_section_alone(live: Copy, finished: Copy) -> None:
    before = finished.results()
    configure(live, "measure")
    run = live.snakemake()
    assert {"measure_forecast", "measure_kernels", "measure_evaluate"} <= run.rules
    after = live.results()
    changed = {name for name in after if after[name] != before.get(name)}
    assert PAGE.removeprefix("results/") in changed
    assert all(name.startswith(("report/", *OWN, *RUN)) for name in changed)
    machines = json.loads(after["measure/machines.json"])["machines"]
    assert [one["where"] for one in machines].count("live") == 1
    old, new = (
        {
            name: html
            for file, text in made.items()
            if file.startswith("report/") and file.endswith(".html")
            for name, html in sections(text.decode()).items()
        }
        for made in (before, after)
    )
    assert {"machine"} <= {name for name in new if new[name] != old.get(name)} <= {"machine", "numa"}
    assert "in this run" in new["machine"]
    assert live.would_run() == set()

    raw = {path: path.read_bytes() for path in (live.root / "results/measured").rglob("kernels-*.parquet")}
    assert raw
    more = live.snakemake("results/measured/after.json", "--forcerun", "measure_kernels")
    assert "measure_kernels" in more.rules
    assert all(path.read_bytes() == data for path, data in raw.items())

    configure(live, "off")
    run = live.snakemake(PAGE)
    assert not {"measure_forecast", "measure_kernels", "measure_evaluate"} & run.rules
    assert "machine" not in sections((live.root / PAGE).read_text())
    configure(live, "auto")  # no GPU is here, and none was measured: a CPU is no result
    assert live.would_run(PAGE) == set()
    configure(live, "replay")
    live.snakemake(PAGE)
    assert (live.root / PAGE).read_bytes() == (finished.root / PAGE).read_bytes()


def test_cuda_without_a_gpu_is_one_line_and_leaves_data_as_they_were(live: Copy) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    configure(live, "measure", device="cuda")
    before = live.results()
    run = live.snakemake(*TARGETS, fails=True)
    lines = [line for line in run.output.splitlines() if line.startswith("tilecast: error:")]
    assert len(lines) == 1 and "no CUDA device is visible to torch" in lines[0]
    assert "Traceback (most recent call last)" not in run.output.split("tilecast: error:")[0]
    assert live.results() == before


@pytest.mark.parametrize(("key", "value"), [("budget_s", 0), ("mode", "sometimes"), ("device", "abacus")])
def test_a_mistake_in_the_configuration_ends_the_run_before_it_begins(
    finished: Copy, key: str, value: object
) -> None:
    with finished.edited("config/config.yaml", lambda text: measuring(text, **{"mode": "measure", key: value})):
        run = finished.snakemake(fails=True)
    assert f"`measure.{key}`" in run.output and run.rules == set()
