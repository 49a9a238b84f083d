"""System files: read with their sources, and mistakes refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilecast.base.errors import InputError
from tilecast.base.paths import SYSTEMS
from tilecast.hardware import system as system_module
from tilecast.hardware.system import load_system


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("kind: nvswitch", "kind: string"), "tier 1: `kind` = 'string': Input should be 'nvswitch', 'nvlink'"),
        (("nvls: true", "nvsl: true"), "unknown key `nvsl`"),
        (("nvls: true", "nvls: 1"), "`nvls` = 1: Input should be a valid boolean"),
        (("450.0e9", "-1"), "`bytes_per_s` = -1: expected 1e+06 to 1e+14 bytes per second, one way"),
        (("    source: h100", "    source: hearsay"), "source 'hearsay' is not among `sources`"),
        (("    source: h100", "    colour: red"), "tier 1: unknown key `colour`"),
        (("    source: h100", ""), "tier 1: `source` is missing"),
        (
            ("gpus_per_node: 8", "gpus_per_node: 0"),
            "`gpus_per_node` = 0: Input should be greater than or equal to 1",
        ),
        (("tiers:", "nodes: 2\ntiers:"), "2 nodes without `network`"),
        (("    like:", "    joins: [[0, 9]]\n    like:"), "`joins` names GPU 9"),
        (("    like:", "    ports: [[0, 1], [1, 2]]\n    like:"), "`ports` names GPU 1 twice"),
    ],
)
def test_a_bad_description_is_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    source = (SYSTEMS / "h100_sxm.yaml").read_text()
    assert change[0] in source
    path = tmp_path / "system.yaml"
    path.write_text(source.replace(*change))
    with pytest.raises(InputError) as caught:
        load_system(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_shipped_system_is_what_its_file_says_whatever_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = load_system(SYSTEMS / "dgx_h100.yaml")
    assert load_system("dgx_h100") == told
    (entry,) = (tmp_path / "tilecast/systems").iterdir()
    whole = entry.read_bytes()
    for content in (b"", whole[:-20], b"0" * 64 + b"\n{}", whole):
        entry.write_bytes(content)
        assert load_system("dgx_h100") == told
        assert entry.read_bytes() == whole
    monkeypatch.setenv("XDG_CACHE_HOME", str(entry))  # a file, in which nothing can be kept
    assert load_system("dgx_h100") == told


def test_a_shipped_file_that_was_changed_is_checked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(system_module, "SYSTEMS", tmp_path)
    text = (SYSTEMS / "dgx_h100.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    assert load_system("mine").gpus_per_node == 8
    (tmp_path / "mine.yaml").write_text(text + "nvsl: true\n")
    with pytest.raises(InputError, match="unknown key `nvsl`"):
        load_system("mine")
