"""The four-stage model, the guide's arithmetic, the statistics: limits, and truths that must be found again."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.locality.compare import compare, interval
from tilecast.locality.guide import arithmetic
from tilecast.locality.host import Host, Rates, described_hosts
from tilecast.locality.model import (
    Stages,
    Work,
    expected,
    penalty_percent,
    predicted,
    stages,
)
from tilecast.locality.record import load, summary, tables
from tilecast.locality.study import Study, cells, load_study, manifest
from tilecast.tables.declared.locality import HOSTS, LIMITS, PREDICTED
from tilecast.tables.io import check, read

times = st.floats(0.001, 100)
NO_WORK = Work(0, (0, 0, 0), (0.04, 0.03, 0.05))
WORK = Work(1e9, (0.5, 0.4, 0.6), (0.3, 0.2, 0.4))


@given(h2d=times, compute=times, d2h=times, launch=times, factor=st.floats(1, 10))
def test_distance_costs_no_more_than_it_slows_copies_and_nothing_where_copies_hide(
    h2d: float, compute: float, d2h: float, launch: float, factor: float
) -> None:
    near = Stages(h2d, compute, d2h, launch)
    far = Stages(h2d * factor, compute, d2h * factor, launch)
    penalty = penalty_percent(near, far)
    assert 0 <= penalty <= 100 * (factor - 1) + 1e-6
    assert near.batch_ms == getattr(near, near.bound)
    if far.bound in ("compute", "launch"):
        assert penalty == 0
    if near.bound in ("h2d", "d2h"):
        assert penalty == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_the_stages_of_a_batch() -> None:
    found = stages(WORK, "vit32x2x128", "fp32", 10, Rates(2.4e10, 1.2e10))
    assert found.h2d == pytest.approx(0.25088)
    assert found.d2h == pytest.approx(0.003333, rel=1e-3)
    assert (found.compute, found.launch, found.bound) == (0.5, 0.3, "compute")
    other = stages(WORK, "vit0x0x0", "bf16", 1, Rates(3.01056e8, 1e8), 2)
    assert other == Stages(1, 0.6, pytest.approx(3.01056), 0.4)


def test_copies_both_ways_slow_each_other_and_pageable_ones_hide_nothing() -> None:
    assert Stages(2, 0, 1, 0, both_ways_share=0.5).batch_ms == 3  # 1 ms each way at half the rate, then 1 alone
    assert Stages(2, 5, 1, 3, waits=True).batch_ms == 8
    assert Stages(2, 3, 1, 5, waits=True).batch_ms == 8


def host(remote: float, **others: Any) -> Host:
    return Host("a", "L40S", "pinned", "assumed", ((Rates(2e10, 2e10), Rates(remote, remote)), *others.values()))


def test_predicted_rows_say_what_the_remote_node_costs() -> None:
    cells = [
        ("vit0x0x0", "fp32", 10, False),
        ("vit32x2x128", "fp32", 10, False),
        ("vit32x2x128", "fp32", 10, True),
    ]
    found = predicted([host(1e10)], cells, lambda _, model, *__: NO_WORK if model == "vit0x0x0" else WORK)
    check(found, PREDICTED, "predicted")
    no_op, small, compiled = found.to_dict("records")
    assert no_op["penalty_percent"] == pytest.approx(100) and no_op["bound_local"] == "h2d"
    names = ("copies_from", "compute_from", "launch_from")
    said = [["assumed", "", "assumed"], ["assumed", "predicted", "predicted"], ["assumed", "predicted", "assumed"]]
    assert found[list(names)].fillna("").to_numpy().tolist() == said
    # 0.602 ms of copy from afar against 0.5 ms of compute, or 0.4 to 0.6 at the ends of its interval
    assert small["penalty_percent"] == pytest.approx(20.42, abs=0.01)
    assert (small["low_percent"], small["high_percent"]) == pytest.approx((0.352, 50.528), abs=0.01)
    assert (small["compiled"], compiled["compiled"]) == (False, True)


def test_what_a_host_leaves_open_widens_the_interval_and_not_the_middle() -> None:
    slow = (Rates(2e10, 2e10), Rates(5e9, 5e9))
    found = predicted([host(2e10, slow=slow)], [("vit0x0x0", "fp32", 5, False)], lambda *_: NO_WORK)
    row = found.iloc[0]
    assert (row["penalty_percent"], row["low_percent"]) == (0, 0)
    assert row["high_percent"] == pytest.approx(300)


def test_the_open_host_keeps_its_limits_and_only_known_hosts_are_described(repository: Any) -> None:
    published = read(repository / "resources/published/numa_hosts.csv", HOSTS)
    limits = read(repository / "resources/published/numa_limits.csv", LIMITS)
    found = {(one.name, one.memory): one for one in described_hosts(published, limits)}
    assert "gb200" not in {name for name, _ in found} and len(found["p100_two_sockets", "pinned"].cases) == 3
    pinned, pageable = (found["open", memory].cases for memory in ("pinned", "pageable"))
    assert len(pinned) == 1 + 2**6 and len(pageable) == 1 + 2**8
    for local, remote in (*pinned, *pageable):
        assert local.in_bytes_per_s <= 0.905 * 3.15e10 and remote.in_bytes_per_s <= local.in_bytes_per_s + 1
        assert local.waits == remote.waits
    # a quarter of two UPI links is 10.4 GB/s; 24.8 / 3.21 is less
    assert min(remote.in_bytes_per_s for _, remote in pinned) == pytest.approx(0.787 * 3.15e10 / 3.21)
    assert any(remote.in_bytes_per_s == pytest.approx(1.04e10) for _, remote in pinned)
    # hidden or not: 10 GB/s, or a tenth of a nanosecond a byte and what crossing adds at 1.04 against 24.8 GB/s
    ends = {round(remote.in_bytes_per_s / 1e9, 2) for local, remote in pageable if local.in_bytes_per_s == 1e10}
    assert 10.0 in ends and round(1 / (0.1 + 1 / 10.4 - 1 / (0.787 * 31.5)), 2) in ends


def test_the_guides_arithmetic() -> None:
    found = pd.DataFrame(arithmetic(61.7e9)).set_index("quantity")["value"]
    assert found["image_bytes"] == 602_112
    assert found["pcie4_samples_per_s"] == pytest.approx(41_853, abs=1)
    assert found["claimed_maximum_bytes_per_s"] == pytest.approx(4.2148e9, rel=1e-4)
    assert found["heavy_compute_ms"] == pytest.approx(1.5425)
    assert found["heavy_copy_ms"] == pytest.approx(0.0239, rel=0.01)
    assert found["numa_study_run_s"] == pytest.approx(43.75)
    assert found["comprehensive_min"] == pytest.approx(70)


def test_published_hosts_say_where_they_come_from(repository: Any) -> None:
    found = read(repository / "resources/published/numa_hosts.csv", HOSTS)
    assert found["source"].str.len().min() > 20 and set(found["passport"]) == {"published", "assumed"}
    limits = read(repository / "resources/published/numa_limits.csv", LIMITS)
    assert limits["source"].str.len().min() > 20 and (limits["low"] <= limits["high"]).all()


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=12))
def test_an_interval_holds_its_mean(logs: list[float]) -> None:
    found = interval(logs)
    assert found["low_percent"] - 1e-9 <= found["penalty_percent"] <= found["high_percent"] + 1e-9
    assert 0 <= found["p_value"] <= 1


def test_an_interval_by_hand() -> None:
    found = interval([0.1, 0.2, 0.3])  # mean 0.2, standard error 0.057735, Student's t with 2 degrees 4.302653
    assert found["penalty_percent"] == pytest.approx(22.1403, abs=1e-3)
    assert found["low_percent"] == pytest.approx(-4.7256, abs=1e-3)
    assert found["high_percent"] == pytest.approx(56.5826, abs=1e-3)
    assert found["p_value"] == pytest.approx(0.0742, abs=1e-4)


TOPOLOGY = {
    "nodes": [{"node": node, "cpus": "0-7", "memory_bytes": 1, "distances": []} for node in (0, 1)],
    "gpus": [{"gpu": gpu, "node": node, "name": "X"} for gpu, node in ((0, 0), (1, 1), (2, 0))],
    "testable": True,
    "verdict": "testable",
}


def record(noise: float, memory: float, cpu: float, **changes: Any) -> dict[str, Any]:
    """A made-up study in which remote memory and a remote CPU slow a run by known factors."""
    chosen = {"repetitions": 8, "gpus": [0, 1, 2], "dtypes": ["fp32"], "models": ["vit0x0x0"], **changes}
    study = load_study("locality", chosen)
    chance = random.Random(study.seed + 3)
    runs = []
    for row in manifest("locality", study):
        local = {gpu["gpu"]: gpu["node"] for gpu in TOPOLOGY["gpus"]}[row["gpu"]]  # type: ignore[index, attr-defined]
        slower = (memory if row["memory_node"] != local else 1) * (cpu if row["cpu_node"] != local else 1)
        rate = 1000 * (1 + 0.3 * row["repetition"]) / slower * chance.gauss(1, noise)  # blocks drift, pairs do not
        runs.append(
            row
            | {
                "status": "ok",
                "reason": None,
                "device": "cuda",
                "samples_per_s": rate,
                "batches": 10,
                "wall_s": 0.1,
            }
            | {"pages": {str(row["memory_node"]): 9}, "output_copied": True, "verified": "yes", "gpu_node": local}
        )
    profiles = [
        {"cell": cell.name, "status": "failed", "reason": "not profiled"}
        | {key: getattr(cell, key) for key in cell.__dataclass_fields__}
        for cell in cells(study)[0]
    ]
    return {
        "study": "locality", "definition": study.model_dump(), "device": "cuda", "topology": TOPOLOGY,
        "measured_on": "2026-01-01", "runs": runs, "profiles": profiles,
    }  # fmt: skip


def test_penalties_put_in_are_found_again_and_told_apart() -> None:
    found = tables(record(noise=0.005, memory=1.3, cpu=1.1))["comparison"]
    assert set(found["factor"]) == {"both", "memory", "cpu"}
    for factor, truth in (("memory", 30), ("cpu", 10), ("both", 43)):
        rows = found[(found["factor"] == factor) & (found["gpu"] != "all")]
        assert len(rows) == 3 and rows["n"].tolist() == [8, 8, 8]
        assert (rows["penalty_percent"] - truth).abs().max() < 1
        assert set(rows["verdict"]) == {"slower from the remote node"}
        over = found[(found["factor"] == factor) & (found["gpu"] == "all")].iloc[0]
        assert over["low_percent"] < truth < over["high_percent"] and over["n"] == 24


@pytest.mark.slow
def test_no_difference_is_said_where_there_is_none() -> None:
    found = [tables(record(0.02, 1, 1, gpus=[0, 1], seed=seed))["comparison"] for seed in range(20)]
    wrong = [set(table["verdict"]) - {"no difference detected", "too few repetitions"} for table in found]
    assert len([words for words in wrong if words]) <= 4  # one in twenty studies is expected to err, not one row


def test_two_repetitions_are_too_few() -> None:
    found = tables(record(noise=0.02, memory=2, cpu=1, repetitions=2, gpus=[0]))["comparison"]
    assert set(found["verdict"]) == {"too few repetitions"} and found["low_percent"].isna().all()


def test_runs_whose_pages_lie_elsewhere_are_not_compared() -> None:
    raw = record(noise=0.01, memory=2, cpu=1, gpus=[0])
    for run in raw["runs"]:
        run["verified"] = "no" if run["memory_node"] == 1 else "yes"
    found = tables(raw)["comparison"]
    assert set(found["factor"]) == {"cpu"} and set(found["gpu"]) == {"0"}  # over one GPU there is no mean


def test_the_model_is_held_against_measurements() -> None:
    models = ["vit0x0x0", "vit32x2x128"]
    raw = record(noise=0.001, memory=1.5, cpu=1, gpus=[0], models=models, compiled=[True, False])
    copies = {0: 2e10, 1: 5e9}
    links = [
        {"gpu": 0, "memory_node": node, "dtype": "fp32", "status": "ok"}
        | {"measures": {"h2d_p50_bytes_per_s": rate, "d2h_p50_bytes_per_s": rate}}
        for node, rate in copies.items()
    ]
    asked = [asdict(cell) for cell in cells(Study(**raw["definition"]))[0]]
    works = {(0, "vit32x2x128", "fp32", False): Work(1e9, (0.75, 0.7, 0.8), (0.6, 0.5, 0.9))}
    works |= {(0, "vit32x2x128", "fp32", True): Work(1e9, (0.7, 0.6, 0.8), (0.2, 0.1, 0.9))}
    raw["forecasts"] = expected(asked, 10, works, links)
    assert expected(asked, 10, works, [link | {"status": "failed"} for link in links]) == []
    whole = tables(raw)["against"].set_index(["cpu_node", "memory_node"])
    assert whole[whole["compiled"]].loc[(0, 0), "predicted_per_s"] == pytest.approx(10 / 0.7e-3)
    found = whole[~whole["compiled"]]
    assert sorted(found.index) == [(0, 0), (0, 1), (1, 0), (1, 1)] and set(found["model"]) == {"vit32x2x128"}
    # from node 0 compute of 0.75 ms is slowest, from node 1 the copy of 6.02 MB at 5 GB/s
    near, far = found.loc[0, 0], found.loc[0, 1]
    assert (near["bound"], near["local"], near["launch_ms"]) == ("compute", True, 0.6)
    assert near["predicted_per_s"] == pytest.approx(10 / 0.75e-3)
    assert (far["bound"], far["local"], far["copies_from"]) == ("h2d", False, "measured")
    assert far["predicted_per_s"] == pytest.approx(10 / (6_021_120 / 5e9))
    wrong = abs(found["predicted_per_s"] / found["measured_per_s"] - 1) * 100
    assert found["ape_percent"].tolist() == pytest.approx(wrong.tolist())
    assert far["predicted_penalty_percent"] == pytest.approx(100 * (6_021_120 / 5e9 / 0.75e-3 - 1))
    assert far["measured_penalty_percent"] == pytest.approx(50, abs=1)
    assert pd.isna(near["predicted_penalty_percent"]) and pd.isna(near["measured_penalty_percent"])
    assert found.loc[1, 0]["predicted_penalty_percent"] == 0  # only the CPU is far


def test_this_hosts_gpus_are_forecast_by_their_names() -> None:
    pytest.importorskip("torch")
    from tilecast.locality.compute import forecasts, of_this_host

    study = load_study("quick_test", {"models": ["vit0x0x0", "vit32x2x256"], "gpus": [0, 1]})
    gpus = [{"gpu": 0, "node": 0, "name": "NVIDIA L40S"}, {"gpu": 1, "node": 0, "name": "NVIDIA Unheard Of"}]
    links = [
        {"gpu": gpu, "memory_node": 0, "dtype": "fp32", "status": "ok"}
        | {"measures": {"h2d_p50_bytes_per_s": 2e10, "d2h_p50_bytes_per_s": 2e10}}
        for gpu in (0, 1)
    ]
    no_op, small = of_this_host(study, TOPOLOGY | {"gpus": gpus}, links)
    assert [(row["gpu"], row["model"]) for row in (no_op, small)] == [(0, "vit0x0x0"), (0, "vit32x2x256")]
    assert (no_op["compute_ms"], no_op["launch_from"], small["launch_from"]) == (0, "assumed", "predicted")
    # 20 to 30 kernels of an eager pass through two layers, 15 to 50 us each, and two copies
    assert 0 < no_op["launch_ms"] < 0.1 and 0.3 < small["launch_ms"] < 1.5
    known = forecasts([("vit32x2x256", "fp32", 1, compiled) for compiled in (False, True)], ["L40S"])
    kinds = (("vit0x0x0", False), ("vit32x2x256", False), ("vit32x2x256", True))
    _, eager, compiled = works = [known("L40S", name, "fp32", 1, how) for name, how in kinds]
    for middle, low, high in (work.launch_ms for work in works):
        assert low < middle < high
    assert compiled.compute_ms[0] < eager.compute_ms[0] and compiled.flops == pytest.approx(eager.flops)
    assert all(short < long for short, long in zip(compiled.launch_ms, eager.launch_ms))
    assert of_this_host(study, TOPOLOGY | {"gpus": gpus[1:]}, links) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"testable": False, "verdict": "not testable here: one node"}, "one node"),
        ({"gpus": []}, "the kernel does not say which node GPU 0 is next to"),
    ],
)
def test_an_untestable_host_gives_no_penalty(change: dict[str, Any], reason: str) -> None:
    raw = record(noise=0.01, memory=2, cpu=1, gpus=[0])
    found = tables(raw | {"topology": TOPOLOGY | change})["comparison"]
    assert found["verdict"].tolist() == ["not testable here"] and found["reason"].tolist() == [reason]
    assert found["penalty_percent"].isna().all()


def test_a_summary_counts_what_succeeded() -> None:
    raw = record(noise=0.01, memory=1, cpu=1, gpus=[0], repetitions=5)
    for run, status in zip(raw["runs"], ("timeout", "failed", "not testable here", "not testable here")):
        run["status"] = status
    found = summary(raw)
    assert found["by_status"] == {"ok": 16, "failed": 1, "timeout": 1, "not testable here": 2}
    assert found["success_rate_percent"] == 80
    assert found["success_rate_of_testable_percent"] == pytest.approx(100 * 16 / 18)


def test_the_shipped_record_is_whole_and_says_what_it_is(repository: Any) -> None:
    raw = load(repository / "resources/measured/numa/quick_test.json")
    found = tables(raw)
    assert len(found["runs"]) == 15 and set(found["runs"]["status"]) == {"ok"}
    assert set(found["runs"]["verified"]) == {"yes"}
    assert found["comparison"]["verdict"].tolist() == ["not testable here"] * 3
    assert all(row["n"] == 0 for row in compare(found["runs"], raw["topology"]))
    assert found["timeline"].groupby("cell").size().tolist() == [6, 6, 6]


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("{}", "is not a record")])
def test_a_record_that_is_none_is_refused(text: str, words: str, tmp_path: Any) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        load(tmp_path / "a.json")
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "b.json")
    half = record(0.01, 1, 1, gpus=[0], repetitions=1)
    del half["runs"][0]["wall_s"]
    with pytest.raises(InputError, match="is not a whole record"):
        tables(half)
