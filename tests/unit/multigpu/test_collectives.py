"""Collectives and systems: limits that are exact, directions that must hold, input that is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast import cli
from tilecast.evaluate.multigpu import collective_errors
from tilecast.hardware.system import System, load_system, route, system_names
from tilecast.multigpu.collectives import (
    NETWORK_STEP_S,
    OPS,
    TREE_STEP_S,
    Curve,
    Line,
    collective,
    curves,
    curves_without_size,
    group_factor,
    port_share,
    tried,
)
from tilecast.multigpu.collectives_fit import (
    CALIBRATED,
    MEASURED,
    fit_curve,
    fit_held_out,
    validate,
)
from tilecast.tables.declared.multigpu import COLLECTIVE_MEASUREMENTS
from tilecast.tables.io import read

SYSTEMS = system_names()
ops, names, sizes = st.sampled_from(OPS), st.sampled_from(SYSTEMS), st.floats(1, 1e11)


def faster(system: System, factor: float) -> System:
    """`system` with every link `factor` times as fast."""
    tiers = tuple(replace(tier, bytes_per_s=tier.bytes_per_s * factor) for tier in system.tiers)
    network = system.network and replace(system.network, bytes_per_s=system.network.bytes_per_s * factor)
    return replace(system, tiers=tiers, network=network)


def group(draw: st.DataObject, op: str, system: System) -> list[int]:
    """Two to 24 GPUs of the system, in its first four nodes."""
    most = 2 if op == "send_recv" else 24
    pool = st.integers(0, min(system.gpus, 4 * system.gpus_per_node) - 1)
    return draw.draw(st.lists(pool, min_size=2, max_size=most, unique=True))


@given(ops, names, sizes, st.data())
@settings(max_examples=300, deadline=None)
def test_doubling_every_link_slows_nothing(op: str, name: str, size: float, data: st.DataObject) -> None:
    system = load_system(name)
    gpus = group(data, op, system)
    slow, fast = collective(op, system, gpus, size), collective(op, faster(system, 2), gpus, size)
    assert 0 < fast.latency_ms <= slow.latency_ms
    assert 0 < slow.low_ms <= slow.latency_ms <= slow.high_ms


@given(ops, names, sizes, st.floats(1, 100), st.data())
@settings(max_examples=300, deadline=None)
def test_more_bytes_are_never_faster(op: str, name: str, size: float, more: float, data: st.DataObject) -> None:
    system = load_system(name)
    gpus = group(data, op, system)
    smaller, larger = collective(op, system, gpus, size), collective(op, system, gpus, size * more)
    assert larger.latency_ms >= smaller.latency_ms * (1 - 1e-12)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_nothing_to_send_takes_no_time(op: str, name: str) -> None:
    system = load_system(name)
    assert collective(op, system, [1], 1e9).latency_ms == 0
    assert collective(op, system, [0, 1], 0).latency_ms == 0


@given(ops, names, sizes, st.data())
@settings(max_examples=100, deadline=None)
def test_company_never_helps_and_idle_links_cost_nothing(
    op: str, name: str, size: float, data: st.DataObject
) -> None:
    system = load_system(name)
    gpus = group(data, op, system)
    alone = collective(op, system, gpus, size)
    assert collective(op, system, gpus, size, others=[group(data, "all_reduce", system)]).latency_ms >= (
        alone.latency_ms
    )
    # a link that joins other GPUs only is never used
    if len(system.tiers) == 1 and system.nodes == 1 and set(gpus).isdisjoint({0, 1}):
        spare = replace(system.tiers[0], kind="nvlink", bytes_per_s=1e12, joins=((0, 1),), ports=())
        assert collective(op, replace(system, tiers=(spare, *system.tiers)), gpus, size) == alone


def rates(system: System, gpus: Sequence[int], others: Sequence[Sequence[int]] = ()) -> dict[str, float]:
    """Rate of every kind of link a group needs."""
    return {leg.tier.kind: leg.bytes_per_s for leg in route(system, gpus, others).legs}


def test_which_gpus_share_a_link_matters() -> None:
    pairs = load_system("a6000_bridged")
    assert rates(pairs, [0, 1]) == {"nvlink": 56.25e9}
    assert rates(pairs, [0, 2]) == {"host_bridge": 31.5e9}
    assert rates(pairs, range(4)) == {"nvlink": 56.25e9, "host_bridge": 31.5e9}
    server = load_system("a100_pcie_4")
    assert rates(server, [0, 1], [[2, 3]]) == {"pcie_switch": 31.5e9}
    assert rates(server, [0, 2], [[1, 3]]) == {"host_bridge": 31.5e9 / 2}
    cluster = load_system("dgx_h100")
    assert route(cluster, range(16)).node_bytes_per_s == 8 * 50e9
    assert route(cluster, [0, 8]).node_bytes_per_s == 50e9
    assert route(cluster, [0, 8], others=[[i, i + 8] for i in range(1, 8)]).node_bytes_per_s == 50e9


@pytest.mark.parametrize(
    ("op", "nodes", "steps"),
    [("send_recv", 2, 1), ("all_to_all", 2, 1), ("all_to_all", 6, 1), ("all_gather", 6, 5),
     ("reduce_scatter", 3, 2), ("all_reduce", 4, 6)],
)  # fmt: skip
def test_each_step_over_the_network_takes_its_time(
    op: str, nodes: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One GPU a node, 8 bytes: what a second more a step costs says how many steps there are."""

    def seconds() -> float:
        return collective(op, load_system("dgx_h100"), [8 * node for node in range(nodes)], 8).latency_ms / 1e3

    for name in TREE_STEP_S:
        monkeypatch.setitem(TREE_STEP_S, name, 1e3)
    plain = seconds()
    for name, value in NETWORK_STEP_S.items():
        monkeypatch.setitem(NETWORK_STEP_S, name, value + 1)
    assert seconds() - plain == pytest.approx(steps, rel=1e-4)


def test_volumes_are_those_of_the_closed_forms() -> None:
    assert port_share("all_reduce", 8) * 800 == 1400
    assert port_share("all_gather", 8) * 800 == port_share("all_to_all", 8) * 800 == 700
    assert port_share("all_to_all", 8, behind_port=4) * 800 == 1600
    assert port_share("broadcast", 8) == port_share("send_recv", 2) == 1
    # in the switch, a GPU sends its data once, and its eighth of the sum to all
    system = load_system("dgx_h100")
    ways = tried("all_reduce", system, route(system, range(8)))[0].ways
    assert [way.inside for way in ways if way.algorithm == "nvls"] == [1 + 1 / 8]


def test_protocols_algorithms_and_intervals() -> None:
    h100, h200, cluster = load_system("h100_sxm"), load_system("h200_sxm"), load_system("dgx_h100")
    small, large = (collective("all_reduce", h100, range(8), size) for size in (512, 2**29))
    assert (small.algorithm, large.algorithm) == ("ring", "nvls")
    assert collective("all_reduce", h100, range(4), 2**29).algorithm == "ring"
    known, spec = small, collective("all_reduce", h200, range(8), 512)
    assert (known.basis, spec.basis, spec.reference) == ("measured", "spec-only", "h100_sxm")
    assert spec.high_ms / spec.low_ms > known.high_ms / known.low_ms
    assert collective("all_reduce", cluster, range(0, 8000, 8), 1e4).algorithm == "tree"
    flat = collective("all_reduce", load_system("dgx_a100"), range(64), 2**33)
    assert flat.latency_ms == pytest.approx(2 * 63 / 64 * 2**33 / 200e9 * 1e3, rel=0.3)


def test_another_gpus_curve_is_taken_at_its_own_clock_and_link() -> None:
    """A start is cycles: on the GPU of the reference itself nothing changes, on another it goes with the clock."""
    h100, a100 = load_system("h100_sxm"), load_system("a100_sxm")
    tiers = tuple(replace(tier, like="h100_sxm") for tier in a100.tiers)
    borrowed = replace(a100, tiers=tiers, measured_as=None)
    own, other = (collective("all_reduce", system, range(2), 1) for system in (h100, borrowed))
    assert other.latency_ms / own.latency_ms == pytest.approx(1.98 / 1.41, rel=1e-3)
    unknown = replace(borrowed, device="nobody's")
    assert collective("all_reduce", unknown, range(2), 1).latency_ms == pytest.approx(own.latency_ms, rel=1e-3)
    same = replace(h100, measured_as=None)
    assert collective("all_reduce", same, range(8), 2**29).latency_ms == pytest.approx(
        collective("all_reduce", h100, range(8), 2**29).latency_ms, rel=1e-12
    )


def test_a_system_left_out_is_forecast_within_the_bar() -> None:
    frame = read(MEASURED, COLLECTIVE_MEASUREMENTS)
    rows = frame[frame["op"].eq("all_reduce")]
    for name in ("h200_sxm", "b200_sxm", "b300_sxm", "gb200"):
        mine, system = rows[rows["system"] == name], load_system(name)
        errors = [
            abs(collective("all_reduce", system, range(gpus), size).latency_ms / measured - 1)
            for gpus, size, measured in zip(mine["gpus"], mine["bytes"], mine["latency_ms"])
        ]
        assert sum(errors) / len(errors) <= 0.20


def test_a_curve_of_known_lines_is_found_again() -> None:
    frame = read(MEASURED, COLLECTIVE_MEASUREMENTS)
    rows = frame[(frame["system"] == "a100_sxm") & (frame["op"] == "all_gather")].copy()
    lines = (Line("LL", 8e-6, 1e-6, 0.03), Line("LL128", 1e-5, 1e-6, 0.3), Line("Simple", 3e-5, 1e-6, 0.7))
    truth = {"a100_sxm": {"all_gather": Curve(lines, None, {"nvswitch": {2: 1.0, 4: 1.1, 8: 1.2}})}}
    system = load_system("a100_sxm")

    def times(curves: dict[str, dict[str, Curve]]) -> list[float]:
        return [
            collective("all_gather", system, range(gpus), size, fitted=curves).latency_ms
            for gpus, size in zip(rows["gpus"], rows["bytes"])
        ]

    rows["latency_ms"] = times(truth)
    found = {"a100_sxm": {"all_gather": fit_curve(rows, "a100_sxm", "all_gather")}}
    assert times(found) == pytest.approx(rows["latency_ms"].tolist(), rel=0.03)
    assert group_factor(truth["a100_sxm"]["all_gather"], "nvswitch", 64) == 1.2


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True], ids=["shipped", "refitted"])
def test_all_reduce_at_sizes_left_out(refit: bool) -> None:
    frame = read(MEASURED, COLLECTIVE_MEASUREMENTS)
    frame = frame[frame["system"].isin(CALIBRATED) & (frame["op"] == "all_reduce")]
    held_out = fit_held_out(frame) if refit else curves_without_size()
    table = validate(frame, curves(), held_out)
    means = collective_errors(table[table["basis"] == "leave-one-size-out"])
    assert (means["n"] == means["sizes"].map({"all": 33, "from 1 MiB": 15})).all()
    assert (means["mape_percent"] <= means["sizes"].map({"all": 15, "from 1 MiB": 10})).all()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["collective", "--op", "all_reduce", "--system", "h100_sxm", "--gpus", "8", "--bytes", "64MiB"]
    assert cli.main([*given, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["answer"]
    assert answer["bytes"] == 2**26
    assert 0.2 < answer["latency_ms"] < 0.5
    assert cli.main(given) == 0
    assert "measured, curves of h100_sxm" in capsys.readouterr().out
    island = tmp_path / "island.yaml"
    text = (Path(__file__).resolve().parents[3] / "src/tilecast/data/systems/h100_sxm.yaml").read_text()
    island.write_text(text.replace("    like:", "    joins: [[0, 1], [2, 3]]\n    like:"))
    for arguments, problem in (
        (["--system", str(island), "--gpus", "4"], "no link between GPU 0 and 2"),
        (["--system", "nowhere"], "nowhere: is not a known system"),
        (["--gpus", "9"], "has no GPU 8"),
        (["--gpus", "1,1"], "a GPU is named twice"),
        (["--gpus", "many"], "'many' is not understood"),
        (["--bytes", "1 furlong"], "is not a size"),
        (["--op", "gossip"], "--op: 'gossip' is not known"),
        (["--op", "send_recv"], "has two ends, not 8"),
    ):
        assert cli.main([*given, *arguments]) == 1
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
