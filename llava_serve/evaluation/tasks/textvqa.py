"""TextVQA: questions whose answer is written in the image, with the words an OCR read there."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.entry_index import EntryIndex
from llava_serve.evaluation.tasks.json_stream import array_entries
from llava_serve.evaluation.tasks.mean_credit import AccuracyTally
from llava_serve.evaluation.tasks.question_line import (
    MAX_TOKENS,
    SHORT_ANSWER,
    QuestionLine,
    question_lines,
)
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile, folder_and_questions
from llava_serve.evaluation.tasks.vqa_accuracy import textvqa_accuracy
from llava_serve.evaluation.tasks.vqa_answer import evalai_answer

_ANNOTATIONS = NeededFile(
    ("TextVQA_0.5.1_val.json",),
    "the questions and answers of TextVQA's validation set",
    "https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_0.5.1_val.json",
)
_QUESTIONS = NeededFile(
    ("llava_textvqa_val_v051_ocr.jsonl", *_ANNOTATIONS.names),
    "the questions of TextVQA",
    f"{EVAL_ZIP}, or take {_ANNOTATIONS.comes_from}",
)
_IMAGES = "train_images"  # those of the validation set are among them
_OCR = "Reference OCR token: "


class TextVqa:
    """Accuracy of the validation set, with the OCR's words where LLaVA's question file is there."""

    name: ClassVar[str] = "textvqa"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        for line in _lines(path):
            truths = self._annotations.get(_key(line.id, _question_of(line)))
            if truths is None:
                raise CommandError(
                    f"{line.place} asks of image {line.id} what {_ANNOTATIONS.names[0]} does not",
                    "Take question file and annotations of one version.",
                )
            yield line.asked(folder / _IMAGES / line.image, kind="", truth=truths)

    @cached_property
    def _annotations(self) -> EntryIndex:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        own = path if path.suffix == ".json" else _ANNOTATIONS.in_folder(folder)
        return EntryIndex(
            (_key(entry["image_id"], entry["question"]), entry["answers"])
            for _, entry in _entries(own)
        )

    def grade(self, question: Question, text: str) -> Grade:
        return Grade(evalai_answer(text), textvqa_accuracy(text, question.truth))

    def tally(self) -> AccuracyTally:
        return AccuracyTally(lambda _: ())

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write nothing: the authors' evaluation reads LLaVA's answer file."""
        return []


def _key(image_id: Any, question: str) -> str:
    return f"{image_id}\n{question.lower()}"


def _question_of(line: QuestionLine) -> str:
    """Return the question without the OCR's words and LLaVA's.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_textvqa.py::prompt_processor
    """
    lines = line.text.split("\n")
    with_words = _OCR in line.text and len(lines) == 3
    if not with_words and len(lines) != 2:
        raise CommandError(
            f"{line.place} has {len(lines)} lines of text: the question, the words of an OCR "
            f"behind {_OCR!r} or not, and LLaVA's request for a short answer are expected",
            "Correct the line, or get the file anew.",
        )
    return lines[1] if with_words and line.text.startswith(_OCR.rstrip()) else lines[0]


def _lines(path: Path) -> Iterator[QuestionLine]:
    if path.suffix == ".jsonl":
        yield from question_lines(path)
        return
    for place, entry in _entries(path):
        image_id = entry["image_id"]
        text = entry["question"].capitalize() + SHORT_ANSWER
        yield QuestionLine(place, image_id, f"{image_id}.jpg", text)


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, entry in enumerate(array_entries(path, "data"), start=1):
        place = f"{path}, entry {number}"
        if not (
            isinstance(entry, dict)
            and {"image_id", "question", "answers"} <= entry.keys()
            and isinstance(entry["question"], str)
        ):
            raise CommandError(
                f"{place} is not as TextVQA has it: image_id, question and answers are expected",
                f"Get the file anew from {_ANNOTATIONS.comes_from}.",
            )
        yield place, entry
