"""An exam as files loses nothing: the same words, and media that decode to the same pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video
from scripts.tiny.dialogue import Dialogue
from scripts.tiny.exam import draw_exam, kind_of, removed
from scripts.tiny.exam_files import QUESTIONS, write_exam

KINDS = ("color", "motion", "change", "later picture", "no picture")


def lines(exam: list[Dialogue], folder: Path) -> list[dict[str, object]]:
    write_exam(exam, folder)
    return [json.loads(line) for line in (folder / QUESTIONS).read_text().splitlines()]


@pytest.fixture
def exam() -> list[Dialogue]:
    return draw_exam(25, seed=4, kinds=KINDS)


def test_each_line_has_the_question_its_answer_and_its_kind(
    exam: list[Dialogue], tmp_path: Path
) -> None:
    for line, dialogue in zip(lines(exam, tmp_path), exam, strict=True):
        turn = dialogue.exchanges[-1].turn
        assert (line["kind"], line["answer"]) == (kind_of(dialogue), turn.answer)
        messages = line["messages"]
        assert isinstance(messages, list)
        assert messages[-1]["role"] == "user"
        assert {"type": "text", "text": turn.question} in messages[-1]["content"]


def test_media_are_the_same_to_the_last_pixel(exam: list[Dialogue], tmp_path: Path) -> None:
    limits = FileLimits(10_000_000, 10_000_000)
    for line, dialogue in zip(lines(exam, tmp_path), exam, strict=True):
        messages = line["messages"]
        assert isinstance(messages, list)
        asked = [m["content"] for m in messages if isinstance(m["content"], list)]
        named = [part for content in asked for part in content if part["type"] != "text"]
        for part, shown in zip(named, dialogue.shown, strict=True):
            path = tmp_path / part[part["type"]]
            if shown.is_video:
                frames = decode_video(path.read_bytes(), 10, limits).frames
                found = [np.asarray(frame.image) for frame in frames]
            else:
                with Image.open(path) as image:
                    found = [np.asarray(image)]
            meant = [np.asarray(drawn.image) for drawn in shown.images]
            assert len(found) == len(meant)
            assert all((a == b).all() for a, b in zip(found, meant, strict=True))


def test_the_answers_of_the_one_word_adapter_are_words(
    exam: list[Dialogue], tmp_path: Path
) -> None:
    write_exam(exam, tmp_path, one_word=True)
    texts = (tmp_path / QUESTIONS).read_text().splitlines()
    answers = [json.loads(text)["answer"] for text in texts]
    assert answers == [dialogue.exchanges[-1].turn.word for dialogue in exam]


def test_without_pictures_no_file_is_named(exam: list[Dialogue], tmp_path: Path) -> None:
    blind = lines([removed(dialogue) for dialogue in exam], tmp_path)
    assert "media/" not in json.dumps(blind)
