"""Input files of a review, in LLaVA's formats: questions, context of images, answers.

Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_gpt_review_bench.py, eval_gpt_review_visual.py and
eval_gpt_review.py, which read them line beside line; here `question_id` says what belongs together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.text_lines import numbered_lines
from llava_serve.form_fault import first_fault


class _InputLine(BaseModel):
    model_config = ConfigDict(frozen=True)


class _IdentifiedLine(_InputLine):
    question_id: int | str
    text: str

    @property
    def key(self) -> str:
        """What questions and answers are matched by: 7 and "7" are one id."""
        return str(self.question_id)


class ReviewQuestion(_IdentifiedLine):
    category: str = Field(min_length=1)
    image: str | None = None


class ReviewedAnswer(_IdentifiedLine):
    answer_id: int | str | None = None
    model_id: str | None = None


class ImageObject(_InputLine):
    """`bbox` is (left, top, right, bottom) as fractions of width and height."""

    category: str
    bbox: tuple[int | float, int | float, int | float, int | float]


class ImageContext(_InputLine):
    """What is in an image: `caption` in LLaVA-Bench in the wild, the other two in that of COCO."""

    image: str = Field(min_length=1)
    caption: str | list[str] | None = None
    captions: list[str] | None = None
    instances: list[ImageObject] = []


Line = TypeVar("Line", bound=_InputLine)


def read_questions(path: Path) -> dict[str, ReviewQuestion]:
    """Return the questions by their ids, in the order of the file.

    Raises:
        CommandError: the file cannot be read, a line is no question, or an id stands in two lines.
    """
    questions = _by_key(path, _read(path, ReviewQuestion, "--questions"), "--questions")
    if not questions:
        raise CommandError(f"{path} holds no question", "Correct --questions.")
    return questions


def read_answers(path: Path) -> dict[str, ReviewedAnswer]:
    """Return a model's answers by the ids of their questions.

    Raises:
        CommandError: the file cannot be read, a line is no answer, or a question is answered twice.
    """
    return _by_key(path, _read(path, ReviewedAnswer, "--answers"), "--answers")


def read_context(path: Path) -> Mapping[str, ImageContext]:
    """Return what is in each image, by the image's file name.

    Raises:
        CommandError: the file cannot be read, a line tells nothing of an image, or two tell of one.
    """
    found: dict[str, ImageContext] = {}
    for number, line in _read(path, ImageContext, "--context"):
        if line.caption is None and line.captions is None:
            what = f"line {number} of {path} has neither caption nor captions"
            raise CommandError(what, "Tell in one of them what is in the image.")
        if line.image in found:
            what = f"line {number} of {path} is the second one about the image {line.image!r}"
            raise CommandError(what, "Leave one line for each image.")
        found[line.image] = line
    return found


def model_name(path: Path, answers: Mapping[str, ReviewedAnswer]) -> str:
    """Return the model that all answers name, or else the name of their file."""
    names = {answer.model_id for answer in answers.values()}
    (name,) = names if len(names) == 1 else (None,)
    return name or path.stem


Identified = TypeVar("Identified", bound=_IdentifiedLine)


def _by_key(
    path: Path, lines: Sequence[tuple[int, Identified]], flag: str
) -> dict[str, Identified]:
    found: dict[str, Identified] = {}
    first: dict[str, int] = {}
    for number, line in lines:
        if line.key in found:
            what = (
                f"lines {first[line.key]} and {number} of {path} have one question_id, {line.key}"
            )
            raise CommandError(what, f"Leave one of them, or correct {flag}.")
        found[line.key], first[line.key] = line, number
    return found


def _read(path: Path, kind: type[Line], flag: str) -> list[tuple[int, Line]]:
    """Return the lines that are not blank, with their numbers from 1."""
    lines = []
    for number, line in numbered_lines(path, flag):
        try:
            lines.append((number, kind.model_validate_json(line)))
        except ValidationError as exc:
            what = f"line {number} of {path} cannot be used: {first_fault(exc)}"
            raise CommandError(what, f"{flag} takes LLaVA's JSON lines.") from exc
    return lines
