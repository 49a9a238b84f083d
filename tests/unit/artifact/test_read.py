"""Reading the artifact: its names, its tables, and what is said when a file is not what it should be."""

import json

import numpy as np
import pandas as pd
import pytest

from tilecast.artifact import cells, names
from tilecast.artifact.defects import Tables, find_defects, timings
from tilecast.artifact.fetch import write_archive
from tilecast.artifact.graphs import read_graphs
from tilecast.artifact.kernels import read_kernels
from tilecast.artifact.operators import read_operator_labels, read_operator_predictions, repeats
from tilecast.artifact.store import load
from tilecast.base.errors import InputError
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import empty

LABEL = names.LABELS + "NVIDIA_L4/gpt2_large-train-1024-4.json"
OPERATORS = LABEL.replace(".json", ".csv")
PREDICTION = names.PREDICTIONS + "NVIDIA_L4/micro/gpt2_large-train-1024-4.json"
PREDICTED_OPERATORS = PREDICTION.replace(".json", ".csv")
GRAPH = names.GRAPHS + "gpt2_large-train-1024-4.csv"
KERNEL = names.KERNELS_TRAIN + "bmm/p2.1.0/Tesla P4.csv"
WHOLE = {"num_layer": 36, "e2e_latency": 10.0, "fw_latency": 4.0, "bwall_latency": 6.0}


def as_json(**changes):
    return json.dumps({**WHOLE, **changes}).encode()


@pytest.mark.parametrize(
    ("stem", "workload"),
    [
        ("gpt2_large-train-1024-4-dp4", ("gpt2_large", "training", 1024, 4, "dp4")),
        ("bert_large-inf-512-16-fusion", ("bert_large", "inference", 512, 16, "fusion")),
        ("switch4-inf-512-1", ("switch4", "inference", 512, 1, "none")),
        ("gpt3_xl-train-2048-4-pp4_4", ("gpt3_xl", "training", 2048, 4, "pp4_4")),
    ],
)
def test_file_names(stem, workload):
    assert names.workload(f"label/x/{stem}.json") == workload
    assert names.file_stem(names.Workload(*workload)) == stem


@pytest.mark.parametrize("stem", ["gpt2_large", "gpt2-run-1-1", "gpt2-inf-0-1", "gpt2-inf-1-1-dp8", "<b>-inf-1-1"])
def test_a_file_that_is_named_otherwise_is_an_error(stem):
    with pytest.raises(InputError, match="is not named"):
        names.workload(f"label/x/{stem}.json")


def test_labels_take_zero_as_not_recorded():
    dp4 = names.LABELS + "NVIDIA_L4/gpt2_large-train-1024-4-dp4.json"
    files = {LABEL: as_json(), dp4: as_json(fw_latency=0, bwall_latency=0, num_layer=None)}
    rows = cells.read_labels(files).set_index("option")
    assert rows.loc["none", ["latency_ms", "forward_ms", "backward_ms", "layers"]].tolist() == [10, 4, 6, 36]
    assert rows.loc["dp4", ["forward_ms", "backward_ms"]].isna().all()


def test_li_et_al_are_in_the_folder_micro():
    assert cells.read_predictions({PREDICTION: as_json()})["predictor"].tolist() == ["li_published"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (as_json()[:20], "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"\xff\xfe", "is not JSON"),
        (as_json(e2e_latency="ten"), "'ten' is not a number"),
        (as_json(e2e_latency=-1), "-1 is not a number of at least 0"),
        (as_json(e2e_latency=float("nan")), "nan is not a number of at least 0"),
        (as_json(e2e_latency=0), "cannot have been measured"),
        (as_json(fw_latency=True), "True is not a number"),
    ],
)
def test_a_label_that_is_not_one_is_named(data, said):
    with pytest.raises(InputError, match=LABEL) as caught:
        cells.read_labels({LABEL: data})
    assert said in str(caught.value)


def operator_csv(*rows):
    head = "op,latency,fw_latency,bw_latency,acc_latency,Name"
    return "\n".join([head, *(f"x,{row}" for row in rows)]).encode()


def test_operators_backward_is_the_whole_one_and_layers_repeat():
    rows = ["1,1,0,0,wte", "6,2,3,1,transformer_h_0_ln_1", "2,2,0,0,add_15", "5,5,0,0,transformer_ln_f"]
    table = read_operator_labels({LABEL: as_json(), OPERATORS: operator_csv(*rows)})
    assert table["backward_ms"].tolist() == [0, 4, 0, 0]
    assert table["repeats"].tolist() == [1, 36, 36, 1]
    assert table["position"].tolist() == [0, 1, 2, 3]


def test_a_graph_that_lists_every_layer_repeats_none():
    assert repeats(["a_h_0_ln", "a_h_1_ln"], 36) == [1, 1]
    assert repeats(["lm_head"], 36) == [1]


@pytest.mark.parametrize(("row", "column"), [("x,1,0,0,a", "latency_ms"), ("1,1,-2,0,a", "backward_ms")])
def test_a_bad_operator_names_file_and_line(row, column):
    sound = OPERATORS.replace("-4.csv", "-1.csv")
    files = {sound: operator_csv("1,1,0,0,a"), OPERATORS: operator_csv("1,1,0,0,a", row)}
    with pytest.raises(InputError, match=rf"{OPERATORS}, line 3, column {column}"):
        read_operator_labels(files)


def test_a_missing_column_and_a_cut_file_are_named():
    with pytest.raises(InputError, match=f"{OPERATORS}: column Name, latency is missing"):
        read_operator_labels({OPERATORS: b"fw_latency,bw_latency,acc_latency\n1,2,3\n"})
    with pytest.raises(InputError, match=OPERATORS):
        read_operator_labels({OPERATORS: operator_csv('1,1,0,0,"a')})


def graph_csv(forward="[]", backward="[]"):
    frame = pd.DataFrame(
        {
            "Name": ["n"], "OpName": ["BMM"], "FwOps": [forward], "BwOps": [backward], "AccOps": ["[]"],
            "InputShapes": ["[(2, 3)]"], "OutputShape": ["(2, 3)"],
        }
    )  # fmt: skip
    return frame.to_csv(index=False).encode()


def test_graphs_are_literals():
    data = graph_csv("[['BMM', (2, 3, 4, 5)], ['MEM', ((1, 2), ()) ]]")
    table = read_graphs({GRAPH: data})
    assert table[["kernel", "dims", "order"]].to_numpy().tolist() == [
        ["BMM", "2,3,4,5", 0],
        ["MEM", "1,2;scalar", 1],
    ]


@pytest.mark.parametrize(
    "literal",
    ["__import__('os').system('true')", "[['BMM', (2, -3)]]", "[['BMM', (2, 'x')]]", "[['BMM']]", "[[", "7"],
)
def test_a_graph_that_is_no_literal_is_named_and_not_run(literal):
    with pytest.raises(InputError, match=f"{GRAPH}, line 2, column FwOps"):
        read_graphs({GRAPH: graph_csv(literal)})


HEAD = "OPName,Latency,Device,Kernel Name,Grid x,Grid y,Grid z,Block x,Block y,Block z,B,M,N,K"


def test_kernels():
    table = read_kernels({KERNEL: f"{HEAD}\nbmm,0.5,Tesla P4,sgemm,4,2,3,64,2,1,13,27,15,29\n".encode()})
    row = table.iloc[0]
    assert (row["device"], row["split"], row["family"]) == ("Tesla_P4", "train", "bmm")
    assert (row["grid"], row["block"]) == (24, 128)
    assert row[["b", "m", "k", "n"]].tolist() == [13, 27, 15, 29]  # the artifact calls the inner dimension N


def test_a_kernel_without_time_names_file_and_line():
    text = (
        f"{HEAD}\nbmm,0.5,Tesla P4,sgemm,4,2,3,64,2,1,13,27,15,29\nbmm,0,Tesla P4,sgemm,4,2,3,64,2,1,13,27,15,29\n"
    )
    with pytest.raises(InputError, match=f"{KERNEL}, line 3, column latency_ms"):
        read_kernels({KERNEL: text.encode()})


def test_no_files_give_empty_tables_and_no_defects():
    tables = [
        empty(DEVICES), cells.read_labels({}), cells.read_predictions({}), read_operator_labels({}),
        read_operator_predictions({}), read_graphs({}), read_kernels({}),
    ]  # fmt: skip
    assert all(table.empty for table in tables)
    assert read_kernels({}).empty
    reference = pd.DataFrame({"subject": [], "quantity": [], "value": [], "source": []})
    assert find_defects(Tables(*tables), {}, set(), ["a/b/c/d"], reference).empty


def test_defects_are_found():
    labels = cells.read_labels({LABEL: as_json(fw_latency=1.0)})
    predictions = cells.read_predictions({PREDICTION.replace("gpt2_large", "opt_13"): as_json()})
    device = {"Device": "NVIDIA L4", "Dev_Mem": 24, "Mem_Bw": 300, "Num_Sm": 60, "Core_Per_SM": 128, "Freq": 2040}
    files = {
        names.DEVICES + "NVIDIA_L4.json": json.dumps({**device, "SingleFLOPs": 31334, "L2Cache": 48}).encode(),
        names.MODELS + "opt_13.json": json.dumps(
            {"hidden_size": 9, "num_hidden_layers": 24, "vocab_size": 5}
        ).encode(),
    }
    reference = pd.DataFrame(
        [("NVIDIA_L4", "sm_count", 58, "s"), ("opt_13", "hidden", 2048, "s"), ("opt_13", "layers", 24, "s")],
        columns=["subject", "quantity", "value", "source"],
    )
    tables = Tables(
        cells.read_devices(files), labels, predictions, read_operator_labels({}), read_operator_predictions({}),
        read_graphs({GRAPH: graph_csv("[['VECsoftmax', (8, 4)]]", "[['VECsoftmax', (8, 2)]]")}), read_kernels({}),
    )  # fmt: skip
    found = find_defects(tables, files, {LABEL}, [LABEL, PREDICTION], reference)
    assert set(found["kind"]) == {
        "label without prediction", "prediction without label", "misnamed file", "file absent from the source",
        "parts and whole differ", "device fact", "model size", "unit", "graph dimensions",
    }  # fmt: skip
    detail = found.set_index("kind")["detail"]
    assert "sm_count is 60; the vendor says 58" in detail["device fact"]
    assert "(8,4) forward but (8,2) backward" in detail["graph dimensions"]


def test_timings_of_neighbours_in_two_files_are_compared():
    sizes = pd.DataFrame({"b": 1, "m": range(64, 94), "n": 64, "k": 64})
    halves = [sizes.assign(device=name, op="linear") for name in ("slow", "sound")]
    rows = pd.concat(halves, ignore_index=True)
    train = rows.assign(split="train", latency_ms=rows["m"] * np.where(rows["device"] == "slow", 3.0, 1.1))
    test = rows.assign(split="test", latency_ms=rows["m"] * 1.0)
    found = list(timings(pd.concat([train, test], ignore_index=True)))
    assert [defect.where for defect in found] == ["linear on slow"]
    assert "3 times as long" in found[0].detail
    assert not list(timings(pd.concat([train, test.head(3)], ignore_index=True)))


def test_an_archive_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "a.zip", "")
    write_archive(tmp_path / "a.zip", [("label/x", b"content " * 100)])
    sound = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(sound[:-30])
    with pytest.raises(InputError, match="is damaged"):
        load(tmp_path / "a.zip", "")
    (tmp_path / "a.zip").write_bytes(sound.replace(sound[40:44], b"\0\1\2\3", 1))
    with pytest.raises(InputError, match="is damaged"):
        load(tmp_path / "a.zip", "")
