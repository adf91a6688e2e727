"""The small POPE that ships is the one that is drawn, and is what POPE and LLaVA mean by it."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.tiny import POPE
from scripts.tiny.pope import write_pope

LIMIT_BYTES = 150_000
CATEGORIES = ("adversarial", "random", "popular")


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files(folder: Path) -> dict[str, Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in found}


def test_what_ships_is_what_is_drawn(tmp_path: Path) -> None:
    write_pope(tmp_path)
    drawn, ships = files(tmp_path), files(POPE)
    assert drawn.keys() == ships.keys()
    for name, path in ships.items():
        if path.suffix == ".png":
            with Image.open(path) as one, Image.open(drawn[name]) as two:
                assert one.convert("RGB").tobytes() == two.convert("RGB").tobytes()
        else:
            assert path.read_text() == drawn[name].read_text()


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in files(POPE).values()) <= LIMIT_BYTES


@pytest.mark.parametrize("category", CATEGORIES)
def test_labels_and_questions_are_in_one_order_and_half_of_them_yes(category: str) -> None:
    labels = read(POPE / "coco" / f"coco_pope_{category}.json")
    asked = [line for line in read(POPE / "llava_pope_test.jsonl") if line["category"] == category]
    assert Counter(label["label"] for label in labels) == {"yes": 60, "no": 60}
    for label, line in zip(labels, asked, strict=True):
        assert label["image"] == line["image"]
        suffix = "\nAnswer the question using a single word or phrase."
        assert line["text"] == label["text"] + suffix


def test_an_id_tells_its_category() -> None:
    ids = [line["question_id"] for line in read(POPE / "llava_pope_test.jsonl")]
    assert len(set(ids)) == len(ids)


def test_nothing_is_asked_for_in_vain_that_is_asked_for_as_there() -> None:
    labels = [label for c in CATEGORIES for label in read(POPE / "coco" / f"coco_pope_{c}.json")]
    said: dict[tuple[str, str], set[str]] = {}
    for label in labels:
        said.setdefault((label["image"], label["text"]), set()).add(label["label"])
    assert all(len(answers) == 1 for answers in said.values())
