"""VizWiz: questions of blind people about their own photographs, which may have no answer."""

import re
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
from llava_serve.evaluation.tasks.submission import answer_text, write_array
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile, folder_and_questions
from llava_serve.evaluation.tasks.vqa_accuracy import vizwiz_accuracy
from llava_serve.evaluation.tasks.vqa_answer import evalai_answer

_HOME = "https://vizwiz.org/tasks-and-datasets/vqa/"
_QUESTIONS = NeededFile(
    ("llava_test.jsonl", "val.json", "test.json"),
    "the questions of VizWiz",
    f"{EVAL_ZIP}, or from Annotations.zip of {_HOME}",
)
# Source: haotian-liu/LLaVA eval.zip, vizwiz/llava_test.jsonl
_UNANSWERABLE = (
    "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT_ANSWER
)


class VizWiz:
    """Accuracy is that of the answers as LLaVA submits them, by the authors' evaluation."""

    name: ClassVar[str] = "vizwiz"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        for line in _lines(path):
            named = re.match(r"VizWiz_([^_]+)_", line.image)
            image = folder / (named[1] if named else "test") / line.image
            kind, truths = self._annotations.get(line.image) or ("", None)
            yield line.asked(image, kind, truths)

    @cached_property
    def _annotations(self) -> EntryIndex:
        """Answer type and answers by image; empty for the test set: its answers are not public."""
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        annotations = folder / f"{path.stem.removeprefix('llava_')}.json"
        return EntryIndex(_annotated(annotations) if annotations.is_file() else ())

    def grade(self, question: Question, text: str) -> Grade:
        answer = evalai_answer(text)
        known = question.truth is not None
        return Grade(answer, vizwiz_accuracy(answer, question.truth) if known else None)

    def tally(self) -> AccuracyTally:
        return AccuracyTally(lambda question: (question.kind,))

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write images with answers; a failed answer is an empty one.

        Source: haotian-liu/LLaVA@c121f04 scripts/convert_vizwiz_for_submission.py
        """
        _, path = folder_and_questions(self._data, _QUESTIONS)
        entries = (
            {
                "image": each[0].metadata["image"],
                "answer": evalai_answer(answer_text(each) or ""),
            }
            for each in answered
        )
        return [write_array(folder / f"{path.stem}.json", entries)]


def _lines(path: Path) -> Iterator[QuestionLine]:
    """Yield the questions of LLaVA's file, or of the authors' with LLaVA's words behind them."""
    if path.suffix == ".jsonl":
        yield from question_lines(path)
        return
    for number, (place, entry) in enumerate(_entries(path)):
        try:
            text = entry["question"].capitalize() + _UNANSWERABLE
            yield QuestionLine(place, number, entry["image"], text)
        except (LookupError, TypeError, AttributeError):
            raise _not_vizwiz(place, "image and question") from None


def _annotated(path: Path) -> Iterator[tuple[str, Any]]:
    for place, entry in _entries(path):
        try:
            if "answers" in entry:
                truths = [answer["answer"] for answer in entry["answers"]]
                yield entry["image"], (entry.get("answer_type", ""), truths)
        except (LookupError, TypeError, AttributeError):
            raise _not_vizwiz(place, "image, answer_type and answers") from None


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(array_entries(path), start=1):
        yield f"{path}, entry {number}", entry


def _not_vizwiz(place: str, fields: str) -> CommandError:
    return CommandError(
        f"{place} is not as VizWiz has it: {fields} are expected",
        f"Get the file anew: it is in Annotations.zip of {_HOME}.",
    )
