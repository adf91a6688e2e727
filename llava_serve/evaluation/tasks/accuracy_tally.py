"""Accuracy as the mean credit: over all answers, and over each part that a question belongs to."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from llava_serve.evaluation.question import Grade, Question


class AccuracyTally:
    """`parts` names the parts of a question; one without credit is not counted."""

    def __init__(self, parts: Callable[[Question], Iterable[str]]) -> None:
        self._parts = parts
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is None:
            return
        for name in ("accuracy", *(f"{part}/accuracy" for part in self._parts(question))):
            self._sums[name] += grade.credit
            self._counts[name] += 1

    def metrics(self) -> dict[str, float]:
        return {name: self._sums[name] / count for name, count in self._counts.items()}
