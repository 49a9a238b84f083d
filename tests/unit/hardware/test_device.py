"""Device files: read with their sources, in SI units, and nonsense refused in one line."""

import json

import pytest
import yaml

from tilecast.base.errors import InputError
from tilecast.base.paths import DEVICES
from tilecast.hardware.device_file import devices, load_device

GOOD = {
    "sm_count": 100,
    "cores_per_sm": 64,
    "clock_hz": 1.5e9,
    "vector_flops_per_s": {"fp32": 19.2e12},
    "matrix_flops_per_s": {"bf16": 300e12},
    "memory_bytes": 48e9,
    "bandwidth_bytes_per_s": 1e12,
    "l2_bytes": 40e6,
}


def written(tmp_path, **changes):
    path = tmp_path / "made_up.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    return path


def test_a_made_up_device_is_read(tmp_path):
    device = load_device(written(tmp_path))
    assert (device.name, device.sm_count, device.vendor) == ("made_up", 100, "NVIDIA")
    assert device.peak_flops_per_s("bf16", matrix=True) == 300e12
    assert device.peak_flops_per_s("bf16", matrix=False) == 19.2e12
    assert device.peak_flops_per_s("fp32", matrix=True) == 19.2e12


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sm_count": 0}, "sm_count"),
        ({"sm_count": 1.5}, "valid integer"),
        ({"bandwidth_bytes_per_s": -1e12}, "bandwidth_bytes_per_s"),
        ({"bandwidth_bytes_per_s": 1e15}, "bandwidth_bytes_per_s"),
        ({"bandwidth_bytes_per_s": 1e9}, "bandwidth_bytes_per_s"),
        ({"vector_flops_per_s": {"fp32": 19.2e15}}, "fp32"),
        ({"vector_flops_per_s": {"fp32": 19.2e9}}, "fp32"),
        ({"matrix_flops_per_s": {"bf16": 300e15}}, "bf16"),
        ({"matrix_flops_per_s": {"bf16": 300e9}}, "bf16"),
        ({"clock_hz": 1500}, "`clock_hz` = 1500: expected 1e+08 to 1e+10 Hz"),
        ({"vector_flops_per_s": {"fp31": 1e12}}, "fp31"),
        ({"vector_flops_per_s": {"fp16": 19.2e12}}, "fp32"),
        ({"memory_gb": 48}, "memory_gb"),
        ({"clock_hz": "fast"}, "clock_hz"),
        ({"sm_count": True}, "sm_count"),
        ({"links": ["nvlink"]}, "links"),
        ({"sources": ["a"]}, "sources"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path, change, word):
    with pytest.raises(InputError) as caught:
        load_device(written(tmp_path, **change))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "sm_count: 1"])
def test_a_file_that_is_no_device_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_device(path)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(InputError, match="did you mean H100"):
        load_device("H1000")
    with pytest.raises(InputError, match="one of A100-40GB, A100-80GB"):
        load_device("abacus")


def test_every_shipped_device_names_a_source_for_every_value():
    known = devices()
    assert len(known) == 24
    for device in known.values():
        raw = yaml.safe_load(next(p for p in DEVICES.glob("*.yaml") if device.name in p.read_text()).read_text())
        for key in ("sm_count", "clock_hz", "bandwidth_bytes_per_s", "l2_bytes", "memory_bytes", "power_w"):
            assert device.sources[key] in raw["sources"].values(), (device.name, key)
        assert all(link.source for link in device.links)
    assert load_device("H100") == known["NVIDIA_H100_80GB_HBM3"]


ARTIFACT = {
    "Device": "Tesla T4", "Dev_Mem": 15, "Mem_Bw": 320, "Num_Sm": 40, "Core_Per_SM": 64, "Freq": 1590,
    "SingleFLOPs": 8141, "L2Cache": 4,
}  # fmt: skip


@pytest.mark.parametrize("clock", [1590, 1.59])
def test_the_artifacts_json_in_megahertz_or_gigahertz(tmp_path, clock):
    path = tmp_path / "Tesla_T4.json"
    path.write_text(json.dumps(ARTIFACT | {"Freq": clock}))
    device = load_device(path)
    assert device.clock_hz == pytest.approx(1.59e9)
    assert device.memory_bytes == 15 * 2**30
    assert device.bandwidth_bytes_per_s == 320e9


def test_a_tensor_core_rate_in_the_artifacts_json_is_noted(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(ARTIFACT | {"SingleFLOPs": 8141 * 30}))
    device = load_device(path)
    assert device.vector_flops_per_s["fp32"] == pytest.approx(40 * 64 * 2 * 1.59e9)
    assert "SingleFLOPs" in device.notes[0]


def test_a_wrong_unit_in_the_artifacts_json_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(ARTIFACT | {"SingleFLOPs": 8.141}))
    with pytest.raises(InputError, match="fp32"):
        load_device(path)


def test_a_device_is_named_as_people_type_it() -> None:
    assert load_device("h100").name == "NVIDIA_H100_80GB_HBM3"
    assert load_device("RTX 4090").name == load_device("rtx4090").name == "NVIDIA_GeForce_RTX_4090"
    assert load_device("A100").name == "NVIDIA_A100-SXM4-80GB"
    with pytest.raises(InputError, match="did you mean RTX4090"):
        load_device("4090")
