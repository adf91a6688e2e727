import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.training.data_file import DataFile
from llava_serve.training.mixture import Mixture, open_mixture
from llava_serve.training.sample import BrokenSample


def entry(name: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    return {"id": name, "conversations": turns}


def write(path: Path, entries: Iterable[Any]) -> Path:
    texts = [json.dumps(each) for each in entries]
    is_lines = path.suffix == ".jsonl"
    path.write_text("\n".join(texts) if is_lines else f"[{', '.join(texts)}]", "utf-8")
    return path


def ids(mixture: Mixture) -> list[str]:
    return [mixture.sample(i).id for i in range(len(mixture))]


def numbered(prefix: str, count: int) -> list[dict[str, Any]]:
    return [entry(f"{prefix}{i}") for i in range(count)]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_every_entry_is_a_sample(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"data{suffix}", numbered("a", 5))
    assert ids(open_mixture(str(path))) == ["a0", "a1", "a2", "a3", "a4"]


def test_entries_and_lines_are_counted_as_people_do(tmp_path: Path) -> None:
    array = DataFile(write(tmp_path / "data.json", numbered("a", 2)))
    path = tmp_path / "data.jsonl"
    path.write_text(f"\n{json.dumps(entry('a'))}\r\n\n  {json.dumps(entry('b'))}\n\n", "utf-8")
    lines = DataFile(path)
    assert [array.place(i).rpartition("/")[2] for i in (0, 1)] == [
        "data.json, entry 1",
        "data.json, entry 2",
    ]
    assert [lines.place(i).rpartition("/")[2] for i in (0, 1)] == [
        "data.jsonl, line 2",
        "data.jsonl, line 4",
    ]
    assert [lines.entry(i) for i in (0, 1)] == [entry("a"), entry("b")]


def test_what_is_no_json_is_broken_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(f"[{json.dumps(entry('a'))}, {{'b': 1}}, {json.dumps(entry('c'))}]")
    mixture = open_mixture(str(path))
    assert (len(mixture), mixture.sample(2).id) == (3, "c")
    with pytest.raises(BrokenSample, match="no JSON"):
        mixture.sample(1)


def test_braces_name_several_files(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write(tmp_path / f"{name}.json", numbered(name[0], 1))
    assert ids(open_mixture(f"{tmp_path}/{{three,one}}.json")) == ["t0", "o0"]
    (tmp_path / "b.json").symlink_to(tmp_path / "one.json")
    assert len(open_mixture(f"{tmp_path}/{{one,b}}.{{json,json}}")) == 4


STRATEGIES = {
    "all": range(10),
    "first:3": range(3),
    "end:3": range(7, 10),
    "first:25%": range(3),  # rounded up, as LLaVA-NeXT does
    "end:10%": range(9, 10),
    "first:0": range(0),
    "first:99": range(10),
    "end:99": range(10),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_list_says_how_many_of_each_file_are_taken(tmp_path: Path, strategy: str) -> None:
    one = write(tmp_path / "one.json", numbered("a", 10))
    two = write(tmp_path / "two.jsonl", numbered("b", 2))
    listed = tmp_path / "data.yaml"
    listed.write_text(
        f"datasets:\n  - json_path: {two}\n  - json_path: {one}\n"
        f"    sampling_strategy: {strategy}\n"
    )
    assert ids(open_mixture(str(listed))) == ["b0", "b1", *(f"a{i}" for i in STRATEGIES[strategy])]


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", numbered("a", 100))
    listed = tmp_path / "data.yaml"
    listed.write_text(f"datasets: [{{json_path: {one}, sampling_strategy: 'random:20%'}}]")
    drawn = ids(open_mixture(str(listed), seed=1))
    assert len({*drawn}) == 20
    assert drawn == ids(open_mixture(str(listed), seed=1))
    assert drawn != ids(open_mixture(str(listed), seed=2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("datasets: []", "no list of datasets"),
        ("- a", "no list of datasets"),
        ("datasets: [{}]", "dataset 1, has no json_path"),
        ("datasets: [a.json]", "dataset 1, has no json_path"),
        ("datasets: [{json_path: a.json, sampling_strategy: some}]", "sampling_strategy 'some'"),
        ("datasets: [{json_path: a.json, sampling_strategy: 'first:1.5'}]", "'first:1.5'"),
        ("datasets: [{json_path: a.json, weight: 2}]", "has weight, which is not known"),
        ("datasets: [{json_path: a.txt}]", "neither a .json nor a .jsonl"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    listed = tmp_path / "data.yaml"
    listed.write_text(text)
    with pytest.raises(CommandError, match=reason):
        open_mixture(str(listed))


def test_data_without_an_entry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no entry to train on"):
        open_mixture(str(write(tmp_path / "data.json", [])))


def test_samples_can_be_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", numbered(name, 3))
    mixture = open_mixture(f"{tmp_path}/{{a,b}}.jsonl").without([0, 4, 5])
    assert ids(mixture) == ["a1", "a2", "b0"]
    assert mixture.place(2) == f"{tmp_path}/b.jsonl, line 1"
    with pytest.raises(IndexError):
        mixture.sample(3)


def test_an_array_that_is_called_json_lines_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    with path.open("wb") as file:
        file.truncate(70 << 20)
    with pytest.raises(CommandError, match="more than 64 MiB in line 1"):
        DataFile(path)
