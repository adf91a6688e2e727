"""Tasks whose answers are free text: a judge grades them afterwards, and nothing here does."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.text_lines import numbered_lines


class ReferenceAnswer(BaseModel):
    """Line of a file of answers in LLaVA's form."""

    model_config = ConfigDict(frozen=True)

    question_id: int | str
    text: str


class NoMetrics:
    """Metrics of a task that only a judge can grade: there are none."""

    def add(self, question: Question, grade: Grade) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {}


def ungraded(text: str) -> Grade:
    """Return the grade of an answer that a judge grades later."""
    return Grade(text, None)


def texts_by_id(path: Path) -> dict[str, str]:
    """Return the answers of a file by the ids of their questions.

    Raises:
        CommandError: the file cannot be read, or a line is no answer; names file and line.
    """
    texts = {}
    for number, line in numbered_lines(path):
        try:
            answer = ReferenceAnswer.model_validate_json(line)
        except ValidationError as exc:
            what = f"{path}, line {number} is no answer: question_id and text are expected"
            raise CommandError(what, "Correct the line, or take the file away.") from exc
        texts[str(answer.question_id)] = answer.text
    return texts
