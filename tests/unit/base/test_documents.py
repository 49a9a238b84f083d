"""YAML and JSON from outside: data, or one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilecast.base.documents import (
    DEEPEST,
    LARGEST_BYTES,
    LARGEST_TENSORS_BYTES,
    listed,
    read_json,
    read_tensors,
    read_yaml,
    shown,
)
from tilecast.base.errors import InputError

LAUGHS = "\n".join([*(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]).replace("*a0", "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        (LAUGHS, "stands for more than"),
        ("a: &a [*a]", "stands for more than"),
        ("[" * 5000, f"more than {DEEPEST} levels"),
        ("{" * 5000, f"more than {DEEPEST} levels"),
        ("a: 2024-99-99", "is not YAML"),
        ("a: 1" + "0" * 5000, "is not YAML"),
        ("a: [1, 2", "is not YAML"),
        ("a: \0", "is not YAML"),
        ("a: 1\nb: 2\na: 3", "the key 'a' occurs twice"),
        ("x:\n  - {b: 1, b: 2}", "the key 'b' occurs twice"),
        ("a: 1:30", "a number in base 60"),
        ("a: 1:30.5", "a number in base 60"),
        ("a: 1" + ":1" * 200_000, "a number in base 60"),
    ],
)
def test_hostile_yaml_is_one_short_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_alias_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\n")
    assert read_yaml(tmp_path / "x.yaml") == {
        "a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": {"b": [1, 2], "e": 3},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1' + "0" * 5000 + "}", "", "{", '{"a": \\}'])
def test_hostile_json_is_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="is not JSON") as caught:
        read_json(tmp_path / "x.json")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_what_is_no_readable_file_is_one_line(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", LARGEST_BYTES + 1)
    for name, said in (
        ("missing", "does not exist"), ("bytes", "cannot be read"), ("pipe", "not a file"),
        ("huge", "larger than"), ("", "not a file"), ("\0", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read(f"{tmp_path}/{name}")


def test_a_long_value_is_not_quoted_whole() -> None:
    assert shown("x" * 1000).endswith("...")
    assert len(shown([10**5000])) < 100


@pytest.mark.parametrize("value", [1.5, 0, "", "abc", {"a": 1}, True])
def test_what_is_no_list_is_one_line(value: object) -> None:
    with pytest.raises(InputError, match=r"`links`.*is not a list"):
        listed(value, "links", "gpu.yaml")


def test_a_list_is_itself_and_nothing_is_an_empty_one() -> None:
    assert listed([1, 2], "links", "gpu.yaml") == [1, 2]
    assert listed(None, "links", "gpu.yaml") == []


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"c": 1, "c": 1}}]'])
def test_a_key_of_json_that_occurs_twice_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="occurs twice"):
        read_json(tmp_path / "x.json")


def test_weights_are_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "sparse.safetensors").touch()
    os.truncate(tmp_path / "sparse.safetensors", LARGEST_TENSORS_BYTES + 1)
    for name, said in (("pipe", "not a file"), ("sparse", "larger than"), ("absent", "does not exist")):
        with pytest.raises(InputError, match=said):
            read_tensors(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("data", [b"", b"no tensors", b"\xff" * 64, (20).to_bytes(8, "little") + b"{" * 20])
def test_what_is_no_safetensors_file_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.safetensors: is not a safetensors file"):
        read_tensors(tmp_path / "x.safetensors")
