"""VQAv2: open questions about COCO images, with ten people's answers where those are public."""

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
from llava_serve.evaluation.tasks.task_files import (
    EVAL_ZIP,
    NeededFile,
    first_present,
    folder_and_questions,
)
from llava_serve.evaluation.tasks.vqa_accuracy import vqav2_accuracy
from llava_serve.evaluation.tasks.vqa_answer import evalai_answer

_QUESTIONS = NeededFile(
    (
        "llava_vqav2_mscoco_test-dev2015.jsonl",
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_OpenEnded_mscoco_test-dev2015_questions.json",
        "v2_OpenEnded_mscoco_test2015_questions.json",
    ),
    "the questions of VQAv2",
    f"{EVAL_ZIP}, or from https://visualqa.org/download.html",
)
# What the server of the authors takes has an answer to each question of these.
_WHOLE_TEST = ("llava_vqav2_mscoco_test2015.jsonl", "v2_OpenEnded_mscoco_test2015_questions.json")
_TEST_SPLITS = ("test2015", "test-dev2015")
_TEST_IMAGES = "test2015"  # the images of test-dev are among them


class VqaV2:
    """Accuracy is that of the answers as LLaVA submits them, by the authors' evaluation."""

    name: ClassVar[str] = "vqav2"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        for line in _lines(path):
            yield self._question(folder, line)

    def _question(self, folder: Path, line: QuestionLine) -> Question:
        named = re.match(r"COCO_([^_]+)_", line.image)
        image = folder / (named[1] if named else _TEST_IMAGES) / line.image
        if self._annotations is None:
            return line.asked(image, kind="", truth=None)
        if (annotation := self._annotations.get(str(line.id))) is None:
            raise CommandError(
                f"{line.place} asks question {line.id}, which the annotations do not have",
                "Take questions and annotations of one split, or move the annotations away.",
            )
        question_type, answer_type, truths = annotation
        return line.asked(image, answer_type, truths, {"question_type": question_type})

    @cached_property
    def _annotations(self) -> EntryIndex | None:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        annotations = folder / f"v2_mscoco_{_split(path)}_annotations.json"
        return EntryIndex(_annotated(annotations)) if annotations.is_file() else None

    def grade(self, question: Question, text: str) -> Grade:
        answer = evalai_answer(text)
        known = question.truth is not None
        return Grade(answer, vqav2_accuracy(answer, question.truth) if known else None)

    def tally(self) -> AccuracyTally:
        return AccuracyTally(
            lambda question: (question.kind, str(question.metadata["question_type"]))
        )

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write question ids with answers; those of the whole test set where its list is there.

        Source: haotian-liu/LLaVA@c121f04 scripts/convert_vqav2_for_submission.py
        """
        home, path = folder_and_questions(self._data, _QUESTIONS)
        target = folder / f"{path.stem}.json"
        whole = first_present(home, *_WHOLE_TEST) if _split(path) in _TEST_SPLITS else None
        if whole is None:
            entries = (
                _entry(each[0].metadata["question_id"], _submitted(each)) for each in answered
            )
            return [write_array(target, entries)]
        answers = EntryIndex((each[0].id, _submitted(each)) for each in answered)
        return [
            write_array(
                target, (_entry(line.id, answers.get(str(line.id)) or "") for line in _lines(whole))
            )
        ]


def _entry(question_id: Any, answer: str) -> dict[str, Any]:
    return {"question_id": question_id, "answer": answer}


def _submitted(answered: Answered) -> str:
    return evalai_answer(answer_text(answered) or "")


def _split(path: Path) -> str:
    found = re.search(r"mscoco_([\w-]+?)(?:_questions)?$", path.stem)
    return found[1] if found else ""


def _lines(path: Path) -> Iterator[QuestionLine]:
    """Yield the questions of LLaVA's file, or of the authors' with LLaVA's words behind them.

    Source of the form: GT-Vision-Lab/VQA@a013f00 README.md
    """
    if path.suffix == ".jsonl":
        yield from question_lines(path)
        return
    images = _TEST_IMAGES if (split := _split(path)) in _TEST_SPLITS else split
    for number, entry in enumerate(array_entries(path, "questions"), start=1):
        place = f"{path}, question {number}"
        try:
            image = f"COCO_{images}_{int(entry['image_id']):012d}.jpg"
            text = entry["question"] + SHORT_ANSWER
            yield QuestionLine(place, entry["question_id"], image, text)
        except (LookupError, TypeError, ValueError):
            raise _not_vqa(place, "question_id, image_id and question") from None


def _annotated(path: Path) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(array_entries(path, "annotations"), start=1):
        try:
            truths = [answer["answer"] for answer in entry["answers"]]
            kept = (entry["question_type"], entry["answer_type"], truths)
            yield str(entry["question_id"]), kept
        except (LookupError, TypeError):
            fields = "question_id, question_type, answer_type and answers"
            raise _not_vqa(f"{path}, annotation {number}", fields) from None


def _not_vqa(place: str, fields: str) -> CommandError:
    return CommandError(
        f"{place} is not as VQAv2 has it: {fields} are expected",
        "Get the file anew from https://visualqa.org/download.html.",
    )
