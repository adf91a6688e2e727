"""Entries of JSON files are read one at a time, wherever a reading of the file breaks off."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.json_stream import array_entries, object_entries

ENTRIES: list[Any] = [{"a": '[x]}"é', "n": [1, 2.5, {"b": None}]}, 12345, "text", True, [], {}]


@pytest.mark.parametrize("indent", [None, 2])
def test_entries_are_those_of_the_json_module(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "file.json"
    many = ENTRIES * 5000
    path.write_text(json.dumps(many, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert list(array_entries(path)) == many
    whole = {"info": {"x": [1]}, "wanted": many, "after": 1}
    path.write_text(json.dumps(whole, indent=indent), encoding="utf-8")
    assert list(array_entries(path, "wanted")) == many
    assert dict(object_entries(path)) == whole


@pytest.mark.parametrize("text", ["[]", " [ ] ", "{}"])
def test_an_empty_file_has_no_entries(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    assert list((array_entries if "[" in text else object_entries)(path)) == []


@pytest.mark.parametrize(
    "text", ["", "[1", "[1,", "[1 2]", '{"wanted": 3}', '{"x": []}', "3", "[nonsense]", '["abc']
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=r"file\.json cannot be read: at character \d+"):
        list(array_entries(path, "wanted"))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(CommandError, match="UTF-8"):
        list(array_entries(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*: Is a directory"):
        next(array_entries(tmp_path))
    with pytest.raises(CommandError, match=r"cannot read .*: No such file"):
        next(object_entries(tmp_path / "gone.json"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    entry = json.dumps({"answers": ["some words"] * 20})
    path.write_text("[" + ",".join([entry] * 40_000) + "]")
    assert path.stat().st_size > 10_000_000
    tracemalloc.start()
    count = sum(1 for _ in array_entries(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 2_000_000


def test_a_byte_order_mark_at_the_beginning_is_no_part_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "marked.json"
    path.write_text("[1, 2]", encoding="utf-8-sig")
    assert list(array_entries(path)) == [1, 2]
