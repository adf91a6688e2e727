"""Files of JSON lines that a run left, read as streams: answers, graded ones, and pairs of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.form_fault import first_fault

Line = TypeVar("Line", bound=BaseModel)


def read_graded(path: Path) -> Iterator[GradedAnswer]:
    """Yield graded answers in the order of the questions.

    Raises:
        CommandError: the file is missing, a line is not of its form, or the order is another.
    """
    last = -1
    for number, graded in _lines(path, GradedAnswer):
        if graded.index <= last:
            raise CommandError(
                f"{path}, line {number}: question {graded.index} stands behind question {last}",
                "Grade the run anew: the file was changed after it was written.",
            )
        last = graded.index
        yield graded


def read_records(path: Path) -> Iterator[AnswerRecord]:
    """Yield answers as they came; a later one to a question replaces an earlier one.

    Raises:
        CommandError: the file is missing, or a line is not of its form.
    """
    return (record for _, record in _lines(path, AnswerRecord))


def paired_answers(
    first: Path, second: Path
) -> Iterator[tuple[GradedAnswer | None, GradedAnswer | None]]:
    """Yield both answers to each question, None where a file has none; raises the same."""
    one, other = read_graded(first), read_graded(second)
    a, b = next(one, None), next(other, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.index < b.index):
            yield a, None
            a = next(one, None)
        elif a is None or b.index < a.index:
            yield None, b
            b = next(other, None)
        else:
            yield a, b
            a, b = next(one, None), next(other, None)


def _lines(path: Path, kind: type[Line]) -> Iterator[tuple[int, Line]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, kind.model_validate_json(line)
    except ValidationError as exc:
        raise CommandError(
            f"{path}, line {number}: {first_fault(exc)}",
            "Grade the run anew: the file was changed or cut after it was written.",
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(
            f"{path} cannot be read: {exc}", "Name the report of a run whose folder is whole."
        ) from exc
