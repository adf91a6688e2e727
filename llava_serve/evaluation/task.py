"""Task: questions in a fixed order, the grading of their answers, metrics and submission files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.question import Grade, Question

Answered = tuple[Question, AnswerRecord, Grade | None]  # no grade where the answer failed


class MetricTally(Protocol):
    """Metrics of a task, added up one answer at a time: memory must not grow with the questions."""

    def add(self, question: Question, grade: Grade) -> None:
        """Count an answer; failed ones are never added."""
        ...

    def metrics(self) -> dict[str, float]:
        """Return the task's own metrics by name; empty where nothing could be graded.

        Names are those of the authors in lower case, such as `accuracy`, `f1`, `yes_ratio`; of a
        part, `PART/accuracy`. Shares go from 0 to 1; a value without a definition is left out.
        """
        ...


class Task(Protocol):
    """A task whose data lies in a folder or file of the user's."""

    max_tokens: int  # longest answer: LLaVA asks for 128 tokens of short answers, else for 1024

    @property
    def name(self) -> str:
        """What --task calls it; of most tasks an attribute of the class."""
        ...

    @property
    def main_metric(self) -> str:
        """Key of `MetricTally.metrics` that the task is known by."""
        ...

    def questions(self) -> Iterator[Question]:
        """Yield the questions, read as they are needed; every call yields the same in one order.

        Raises:
            CommandError: a file is missing or is not of the task's format; names file and line.
        """
        ...

    def grade(self, question: Question, text: str) -> Grade:
        """Read an answer as the task's authors do; `text` is stripped of surrounding space."""
        ...

    def tally(self) -> MetricTally: ...

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write what the task's authors take, besides LLaVA's answer file, and return the paths.

        `answered` is in the order of the questions. A task without such files writes nothing.
        """
        ...


@runtime_checkable
class GradesTogether(Protocol):
    """A task whose grades and metrics come of all answers at once."""

    def grade_all(self, answers: Iterable[tuple[Question, AnswerRecord]], folder: Path) -> None:
        """Take every answer, failed ones too, before `grade` and `tally` are asked for any.

        `answers` is in the order of the questions; in `folder` the task may leave files.

        Raises:
            CommandError: its metrics cannot be computed.
        """
        ...
