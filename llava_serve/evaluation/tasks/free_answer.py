"""Tasks whose answers are free text: a judge grades them afterwards, and nothing here does."""

from llava_serve.evaluation.question import Grade, Question


class NoMetrics:
    """Metrics of a task that only a judge can grade: there are none."""

    def add(self, question: Question, grade: Grade) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {}


def ungraded(text: str) -> Grade:
    """Return the grade of an answer that a judge grades later."""
    return Grade(text, None)
