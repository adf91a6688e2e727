"""POPE: is an object in the image? A model that makes things up says yes where it is not."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.pope_tally import PopeTally
from llava_serve.evaluation.tasks.question_line import (
    MAX_TOKENS,
    SHORT_ANSWER,
    QuestionLine,
    question_lines,
)
from llava_serve.evaluation.tasks.task_files import (
    EVAL_ZIP,
    NeededFile,
    first_present,
    folder_and_questions,
)

_HOME = (
    "https://github.com/AoiDragon/POPE/tree/e3e39262c85a6a83f26cf5094022a782cb0df58d/output/coco"
)
# In the order of LLaVA's question file; its ids are those of the authors and these behind.
# Source: haotian-liu/LLaVA eval.zip, pope/llava_pope_test.jsonl
_FIRST_IDS = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}
_LABELS = "coco_pope_"
_QUESTIONS = NeededFile(
    (
        "llava_pope_test.jsonl",
        *(f"{home}{_LABELS}{category}.json" for home in ("coco/", "") for category in _FIRST_IDS),
    ),
    "the questions of POPE",
    f"{EVAL_ZIP}, or from {_HOME}",
)


@dataclass(frozen=True, slots=True)
class _Label:
    """A line of the authors' file; LLaVA's questions are paired with them by their order."""

    place: str
    truth: str
    id: int
    image: str
    text: str


class Pope:
    """F1 is the mean over the categories, as LLaVA's papers report it."""

    name: ClassVar[str] = "pope"
    main_metric: ClassVar[str] = "f1"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        images = first_present(folder, "val2014", "../val2014", "images") or folder / "val2014"
        if path.suffix == ".jsonl":
            pairs = _llavas_questions(path)
        elif self._data.is_file():
            pairs = _authors_questions([path])
        else:
            pairs = _authors_questions(path.parent.glob(f"{_LABELS}*.json"))
        for line, label in pairs:
            yield line.asked(images / line.image, line.category, label.truth)

    def grade(self, question: Question, text: str) -> Grade:
        """Read no where the first sentence has the word no or not, else yes.

        Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_pope.py::eval_pope
        """
        words = text.split(".")[0].replace(",", "").split(" ")
        answer = "no" if {"No", "not", "no"} & set(words) else "yes"
        return Grade(answer, float(answer == question.truth))

    def tally(self) -> PopeTally:
        return PopeTally()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write nothing: the evaluation reads LLaVA's answer file."""
        return []


def _llavas_questions(path: Path) -> Iterator[tuple[QuestionLine, _Label]]:
    labels: dict[str, Iterator[_Label]] = {}
    for line in question_lines(path):
        if line.category not in labels:
            names = tuple(f"{home}{_LABELS}{line.category}.json" for home in ("coco/", ""))
            needed = NeededFile(names, f"POPE's answers of category {line.category!r}", _HOME)
            labels[line.category] = _labels(needed.in_folder(path.parent))
        label = next(labels[line.category], None)
        if label is None or not _is_of(label, line):
            other = "no answer is left" if label is None else f"the answer at {label.place} is not"
            raise CommandError(
                f"{line.place} asks {line.text.splitlines()[0]!r} of {line.image}, for which "
                f"{other}: questions and answers of a category are in one order",
                f"Take the answers that LLaVA's questions are of: {_HOME}.",
            )
        yield line, label


def _is_of(label: _Label, line: QuestionLine) -> bool:
    """Whether a label is of the question, as far as it says; versions differ in `imange`."""
    asked, labelled = (text.replace("imange", "image") for text in (line.text, label.text))
    return label.image in ("", line.image) and asked.startswith(labelled)


def _authors_questions(paths: Iterable[Path]) -> Iterator[tuple[QuestionLine, _Label]]:
    """Yield the questions of the authors' files in LLaVA's order, with LLaVA's words and ids."""
    order = list(_FIRST_IDS)
    by_category = {path.stem.removeprefix(_LABELS): path for path in paths}
    for category in sorted(by_category, key=lambda name: ((*order, name).index(name), name)):
        for label in _labels(by_category[category]):
            text, first_id = label.text + SHORT_ANSWER, _FIRST_IDS.get(category, 0)
            line = QuestionLine(label.place, first_id + label.id, label.image, text, category)
            yield line, label


def _labels(path: Path) -> Iterator[_Label]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}, line {number}"
            try:
                entry = json.loads(line)
                truth = "no" if entry["label"] == "no" else "yes"
                text, image = str(entry.get("text", "")), str(entry.get("image", ""))
                yield _Label(place, truth, int(entry.get("question_id", number)), image, text)
            except (ValueError, LookupError, TypeError, AttributeError):
                raise CommandError(
                    f"{place} is no answer of POPE: a JSON object with a label is expected",
                    f"Get the file anew from {_HOME}.",
                ) from None
