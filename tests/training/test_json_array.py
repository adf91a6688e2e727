import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.training.json_array import element_places

HARD = [
    {"text": 'a "quoted" \\ back\\\\slash, a ] and a }', "é": "世界 🐦"},
    {"nested": [[{"deep": ["[", "{", '"']}], []], "empty": {}},
    "a scalar, with ] and \\",
    17,
    -1.5e-3,
    None,
    True,
    [],
    {},
    {"escaped": "\\u005d\\", "end": "\\\\"},
]


def elements(path: Path, **options: int) -> list[Any]:
    data = path.read_bytes()
    return [json.loads(data[start:end]) for start, end in element_places(path, **options)]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 5, 7, 16, 64, 1000])
@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_elements_are_found_wherever_a_chunk_ends(
    tmp_path: Path, chunk_bytes: int, indent: int | str | None, is_ascii: bool
) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(HARD, indent=indent, ensure_ascii=is_ascii), "utf-8")
    assert elements(path, chunk_bytes=chunk_bytes) == HARD


def random_value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(8 if depth else 5)
    if kind in (0, 1, 2):
        return "".join(rng.choices('ab"\\[]{},:é\n\t🐦 ', k=rng.randrange(12)))
    if kind == 3:
        return rng.choice([0, -3, 2.5, 1e30, None, True, False])
    if kind in (4, 5):
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4) if depth else 0)]
    return {f'k"{i}]': random_value(rng, depth - 1) for i in range(rng.randrange(4))}


@pytest.mark.parametrize("seed", range(60))
def test_elements_of_random_arrays_are_found(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    array = [random_value(rng, 4) for _ in range(rng.randrange(12))]
    path = tmp_path / "data.json"
    indent, is_ascii = rng.choice([None, 1]), rng.random() < 0.5
    text = json.dumps(array, indent=indent, ensure_ascii=is_ascii)
    path.write_text(rng.choice(["", "\ufeff", " \r\n"]) + text + rng.choice(["", "\n \n"]), "utf-8")
    assert elements(path, chunk_bytes=rng.randrange(1, 40)) == array


@pytest.mark.parametrize("text", ["[]", " [ ] ", "\n[\n]\n"])
def test_an_empty_array_has_no_elements(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    assert elements(path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends where '\\['"),
        ("  ", "ends where '\\['"),
        ('{"a": 1}', "has '{' where '\\['"),
        ('{"a": 1}\n{"a": 2}', "has '{' where '\\['"),
        ("[", "ends within an element"),
        ('[{"a": 1}', "ends where '\\]'"),
        ('[{"a": 1},', "ends within an element"),
        ('[{"a": 1}, {"b": "cut', "ends within an element .behind 2 elements, at byte 11"),
        ('[{"a": 1} {"b": 2}]', "has '{' where '\\]'"),
        ("[1, , 2]", "has ',' where an element should be"),
        ("[1, ]", "has '\\]' where an element should be"),
        ("[1] [2]", "goes on behind the array"),
        ("[}]", "has '}' where an element should be"),
        ('["cut', "ends within an element"),
        ("\xef", "has"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 1000])
def test_what_is_no_array_is_refused(
    tmp_path: Path, text: str, reason: str, chunk_bytes: int
) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError, match=reason):
        list(element_places(path, chunk_bytes))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.json cannot be read"):
        list(element_places(tmp_path / "none.json"))


def test_an_element_without_end_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(b'[{"a": "' + bytes(70 << 20))
    with pytest.raises(CommandError, match="more than 64 MiB"):
        list(element_places(path, 16 << 20))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    element = json.dumps({"id": "1", "conversations": [{"from": "human", "value": "x" * 1000}]})
    path.write_text("[" + ",\n".join([element] * 40_000) + "]")
    tracemalloc.start()
    count = sum(1 for _ in element_places(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (count, path.stat().st_size > 40e6, most < 8e6) == (40_000, True, True)
