"""A user's labels of a GPU the artifact does not know: forecast where a device file describes it, else refused."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from copies import Copy, copy_tree

from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.io import write

HEAD = "device,model,mode,sequence_length,batch_size,option,latency_ms\n"
ROW = "{},bert_large,inference,512,8,none,{}\n"
SHIPPED, OWN = "NVIDIA_GeForce_RTX_4090", "My_GPU"
CONFIGURED = ("labels=[mine.csv, yours.csv]", "devices=[my_gpu.yaml]")
RULES = ("--allowed-rules", "fetch_artifact", "tidy_labels", "tidy_end_to_end", "predict", "evaluate_errors")
ERRORS = "results/evaluation/errors.csv"
PREDICTORS = ["habitat", "li", "neusight", "roofline", "tilecast"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy with labels of two GPUs, a file that describes one of them, and a graph of one matrix product."""
    copy = copy_tree(tmp_path_factory.mktemp("labels") / "tree", TILECAST_MIRROR="")
    (copy.root / "mine.csv").write_text(HEAD + ROW.format(OWN, 12.5))
    (copy.root / "yours.csv").write_text(HEAD + ROW.format(SHIPPED, 11.5))
    described = (copy.root / "src/tilecast/data/devices/rtx_a6000.yaml").read_text().splitlines()
    lines = [line for line in described if not line.startswith(("name:", "short:"))]
    (copy.root / "my_gpu.yaml").write_text("\n".join([f"name: {OWN}", *lines]))
    cell = {"model": "bert_large", "mode": "inference", "sequence_length": 512, "batch_size": 8, "option": "none"}
    node = {"position": 0, "name": "a", "operator": "x", "phase": "forward", "order": 0, "kernel": "Linear"}
    size = {
        "dims": "64,64,64",
        "input_elements": 64,
        "output_elements": 64,
        "repeated": False,
        "source": "toy.csv",
    }
    write(pd.DataFrame([cell | node | size]), copy.root / "results/tidy/graphs.parquet", GRAPHS)
    return copy


def config(*changes: str) -> list[str]:
    return ["--config", "artifact={sources: [published]}", *changes]


def test_the_users_cells_are_forecast_by_every_predictor(tree: Copy) -> None:
    tree.snakemake(ERRORS, *config(*CONFIGURED), *RULES)
    errors = pd.read_csv(tree.root / ERRORS)
    for device, latency in ((OWN, 12.5), (SHIPPED, 11.5)):
        mine = errors[errors["device"] == device]
        assert sorted(mine["predictor"]) == PREDICTORS
        assert set(mine["measured_ms"]) == {latency} and set(mine["distribution"]) == {"out"}
    assert tree.snakemake("--dry-run", ERRORS, *config(*CONFIGURED), *RULES).rules == set()


def test_an_edited_label_forecasts_nothing_again(tree: Copy) -> None:
    with tree.edited("mine.csv", lambda text: text.replace("12.5", "13.5")):
        run = tree.snakemake("--dry-run", ERRORS, *config(*CONFIGURED), *RULES)
    assert run.rules == {"tidy_labels", "evaluate_errors"}


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda text: text + "\n# edited\n", set()),
        (lambda text: text.replace("2.52e+09", "2.53e+09"), {"tidy_end_to_end", "predict", "evaluate_errors"}),
    ],
)
def test_a_device_file_concerns_its_readers_by_what_it_says(
    change: Callable[[str], str], stale: set[str], tree: Copy
) -> None:
    with tree.edited("src/tilecast/data/devices/rtx_4090.yaml", change):
        assert tree.snakemake("--dry-run", ERRORS, *config(*CONFIGURED), *RULES).rules == stale
    with tree.edited("src/tilecast/data/devices/b200_sxm_180gb.yaml", lambda text: text.replace("1.965", "1.964")):
        assert tree.snakemake("--dry-run", ERRORS, *config(*CONFIGURED), *RULES).rules == set()


@pytest.mark.parametrize(
    ("row", "changes", "said"),
    [
        (
            ROW.format("NVIDIA_H2000", 1.0),
            (),
            "mine.csv: the GPU NVIDIA_H2000 is not described anywhere; name its",
        ),
        (
            ROW.format(SHIPPED, 1.0).replace("bert_large", "unheard"),
            (),
            "cannot be forecast, the artifact has no graph",
        ),
        (
            ROW.format(SHIPPED, 1.0).replace("none", "tp4"),
            (),
            "cannot be forecast, the artifact has no graph of it",
        ),
        (
            ROW.format(SHIPPED, 1.0),
            ("devices=[my_gpu.yaml]",),
            "my_gpu.yaml: no label needs the device file of My_GPU",
        ),
        (ROW.format(SHIPPED, 1.0), ("devices=[no.yaml]",), "no.yaml"),
    ],
)
def test_what_cannot_be_forecast_is_refused_before_anything_runs(
    row: str, changes: tuple[str, ...], said: str, tree: Copy
) -> None:
    with tree.edited("mine.csv", lambda _: HEAD + row):
        run = tree.snakemake("--dry-run", *config("labels=[mine.csv]", *changes), fails=True)
    lines = [line for line in run.output.splitlines() if line.startswith("tilecast: error: ")]
    assert len(lines) == 1 and said in lines[0], run.output
    assert not (tree.root / "results/evaluation").joinpath("mape.csv").exists()
