"""Answers of yes or no, and the metrics of files of such questions."""

from dataclasses import dataclass

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.tasks.open_answer import without_marks


def read_yes_no(text: str) -> str:
    """Return "Yes" or "No", whichever stands alone in an answer, or "" for neither or both.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::YOrN_Extraction
    """
    words = without_marks(text.lower()).split()
    if ("yes" in words) == ("no" in words):
        return ""
    return "Yes" if "yes" in words else "No"


@dataclass(slots=True)
class _YesCounts:
    """Answers, right ones, and of the answer yes: how often it is true, said, and both."""

    answers: int = 0
    right: int = 0
    true_yes: int = 0
    said_yes: int = 0
    found_yes: int = 0

    def add(self, *, right: bool, is_yes: bool, says_yes: bool) -> None:
        self.answers += 1
        self.right += right
        self.true_yes += is_yes
        self.said_yes += says_yes
        self.found_yes += is_yes and says_yes

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name; one that divides by zero is left out."""
        found = {"accuracy": self.right / self.answers}
        if self.said_yes:
            found["precision"] = self.found_yes / self.said_yes
        if self.true_yes:
            found["recall"] = self.found_yes / self.true_yes
        if self.said_yes + self.true_yes:
            found["f1"] = 2 * self.found_yes / (self.said_yes + self.true_yes)
        return found


class YesNoTally:
    """Accuracy, precision, recall and F1 of the answer yes, over all and by category.

    An answer that is neither yes nor no counts as wrong, and as a no. In files of POPE a question
    of several categories, named with commas, counts once for each, over all too.
    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::default_rating,
    VSR_rating, POPE_rating
    """

    def __init__(self, *, several_categories: bool) -> None:
        self._several_categories = several_categories
        self._all = _YesCounts()
        self._parts: dict[str, _YesCounts] = {}

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is None:
            return
        facts = {
            "right": grade.credit == 1,
            "is_yes": question.truth.lower() == "yes",
            "says_yes": grade.parsed == "Yes",
        }
        category = question.metadata.get("category")
        names = category.split(",") if category and self._several_categories else [category]
        for name in names:
            self._all.add(**facts)
            if name is not None:
                self._parts.setdefault(name, _YesCounts()).add(**facts)
        if (wider := question.metadata.get("l2-category")) is not None:
            self._parts.setdefault(f"l2-category/{wider}", _YesCounts()).add(**facts)

    def metrics(self) -> dict[str, float]:
        found = self._all.metrics() if self._all.answers else {}
        for part, counts in sorted(self._parts.items()):
            found |= {f"{part}/{name}": value for name, value in counts.metrics().items()}
        return found
