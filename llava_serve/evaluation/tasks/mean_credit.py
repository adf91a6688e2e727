"""Mean credit of a task's answers: over all of them, and over parts such as categories."""

from collections.abc import Callable, Iterable

from llava_serve.evaluation.question import Grade, Question


class MeanCredit:
    """Sums and counts by part; memory grows with the parts alone."""

    def __init__(self, name: str = "accuracy") -> None:
        """Args: name: of the mean over all; of a part it is `PART/name`."""
        self._name = name
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, credit: float, parts: Iterable[str] = ()) -> None:
        """Count an answer, once for all and once for each of its parts."""
        for key in (self._name, *(f"{part}/{self._name}" for part in parts)):
            self._sums[key] = self._sums.get(key, 0.0) + credit
            self._counts[key] = self._counts.get(key, 0) + 1

    def metrics(self) -> dict[str, float]:
        """Return the means by name: the one over all first, then the parts in order of names."""
        means = {key: total / self._counts[key] for key, total in self._sums.items()}
        return dict(sorted(means.items(), key=lambda item: (item[0] != self._name, item[0])))


class AccuracyTally:
    """`accuracy` of a task; `parts` names the parts of a question, and an empty name is none."""

    def __init__(self, parts: Callable[[Question], Iterable[str]]) -> None:
        self._parts = parts
        self._mean = MeanCredit()

    def add(self, question: Question, grade: Grade) -> None:
        """Count an answer that somebody here could grade."""
        if grade.credit is not None:
            self._mean.add(grade.credit, filter(None, self._parts(question)))

    def metrics(self) -> dict[str, float]:
        return self._mean.metrics()
