"""GQA: compositional questions about scenes, each with one right answer of one or two words."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.entry_index import EntryIndex
from llava_serve.evaluation.tasks.json_stream import object_entries
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
    folder_and_questions,
)

_HOME = "https://cs.stanford.edu/people/dorarad/gqa/download.html"
_FOLDERS = ("data", "data/questions1.2", "data/questions", ".", "questions1.2", "questions")
_TIER = "testdev_balanced"
_QUESTIONS = NeededFile(
    (f"llava_gqa_{_TIER}.jsonl", *(f"{folder}/{_TIER}_questions.json" for folder in _FOLDERS)),
    "the questions of GQA",
    f"{EVAL_ZIP}, or from {_HOME}",
)
# Names of the kinds of meaning in the authors' results.
# Source: SHI-Labs/VCoder@4e85ace playground/data/eval/gqa/data/eval/eval.py
_MEANINGS = {
    "attr": "attribute",
    "cat": "category",
    "global": "scene",
    "obj": "object",
    "rel": "relation",
}


class Gqa:
    """Accuracy is the share of answers equal to the right one, over the balanced questions."""

    name: ClassVar[str] = "gqa"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        homes = (folder / "data/images", folder / "images", path.parent.parent / "images")
        images = next((home for home in homes if home.is_dir()), homes[0])
        if path.suffix == ".jsonl":
            for line in question_lines(path):
                yield self._question(images, line)
            return
        for place, question_id, entry in _entries(path):
            text = entry["question"] + SHORT_ANSWER
            line = QuestionLine(place, question_id, f"{entry['imageId']}.jpg", text)
            yield _annotated(images, line, _kept(entry))

    def _question(self, images: Path, line: QuestionLine) -> Question:
        if (annotation := self._annotations.get(str(line.id))) is None:
            raise CommandError(
                f"{line.place} asks question {line.id}, which GQA's file with answers has not",
                f"Take LLaVA's question file and that of {_HOME} of one tier.",
            )
        return _annotated(images, line, annotation)

    @cached_property
    def _annotations(self) -> EntryIndex:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        needed = NeededFile(
            tuple(f"{home}/{_tier(path)}_questions.json" for home in _FOLDERS),
            "GQA's questions with their answers",
            _HOME,
        )
        own = needed.in_folder(folder)
        return EntryIndex((question_id, _kept(entry)) for _, question_id, entry in _entries(own))

    def grade(self, question: Question, text: str) -> Grade:
        answer = _prediction(text)
        return Grade(answer, float(answer == question.truth))

    def tally(self) -> "GqaTally":
        return GqaTally()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write the predictions that the authors' eval.py reads; a failed answer is empty there.

        Source: haotian-liu/LLaVA@c121f04 scripts/convert_gqa_for_eval.py
        """
        _, path = folder_and_questions(self._data, _QUESTIONS)
        entries = (
            {
                "questionId": each[0].metadata["question_id"],
                "prediction": _prediction(answer_text(each) or ""),
            }
            for each in answered
        )
        return [write_array(folder / f"{_tier(path)}_predictions.json", entries)]


class GqaTally:
    """Accuracy over all balanced questions and over their kinds.

    Source: SHI-Labs/VCoder@4e85ace playground/data/eval/gqa/data/eval/eval.py
    """

    def __init__(self) -> None:
        self._accuracy = AccuracyTally(_parts)

    def add(self, question: Question, grade: Grade) -> None:
        if question.metadata["balanced"]:
            self._accuracy.add(question, grade)

    def metrics(self) -> dict[str, float]:
        return self._accuracy.metrics()


def _parts(question: Question) -> tuple[str, str, str]:
    meaning = str(question.metadata["semantic"])
    return (
        "open" if question.kind == "query" else "binary",
        question.kind,
        _MEANINGS.get(meaning, meaning),
    )


def _prediction(text: str) -> str:
    return text.rstrip(".").lower()


def _tier(path: Path) -> str:
    return path.stem.removeprefix("llava_gqa_").removesuffix("_questions")


def _annotated(images: Path, line: QuestionLine, annotation: Iterable[Any]) -> Question:
    answer, structural, semantic, balanced = annotation
    metadata = {"semantic": semantic, "balanced": balanced}
    return line.asked(images / line.image, structural, answer, metadata)


def _kept(entry: dict[str, Any]) -> tuple[Any, ...]:
    types = entry["types"]
    return entry["answer"], types["structural"], types["semantic"], entry.get("isBalanced", True)


def _entries(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for question_id, entry in object_entries(path):
        place = f"{path}, question {question_id}"
        needed = {"question", "imageId", "answer", "types"}
        if not (
            isinstance(entry, dict)
            and needed <= entry.keys()
            and isinstance(entry["types"], dict)
            and {"structural", "semantic"} <= entry["types"].keys()
        ):
            raise CommandError(
                f"{place} is not as GQA has it: question, imageId, answer and types are expected",
                f"Get the file anew from {_HOME}.",
            )
        yield place, question_id, entry
