"""Metrics of POPE: how often yes and no are right, by category and over the categories."""

from collections import defaultdict
from dataclasses import dataclass

from llava_serve.evaluation.question import Grade, Question


@dataclass(slots=True)
class _YesNoCounts:
    """Answers of one category; yes is what is looked for."""

    true_yes: int = 0
    false_yes: int = 0
    true_no: int = 0
    false_no: int = 0

    def add(self, answer: str, truth: str) -> None:
        if answer == "yes":
            self.true_yes += truth == "yes"
            self.false_yes += truth != "yes"
        else:
            self.true_no += truth != "yes"
            self.false_no += truth == "yes"

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name; one that divides by zero is left out.

        Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_pope.py::eval_pope
        """
        answers = self.true_yes + self.false_yes + self.true_no + self.false_no
        found = {
            "accuracy": (self.true_yes + self.true_no) / answers,
            "yes_ratio": (self.true_yes + self.false_yes) / answers,
        }
        if said_yes := self.true_yes + self.false_yes:
            found["precision"] = self.true_yes / said_yes
        if is_yes := self.true_yes + self.false_no:
            found["recall"] = self.true_yes / is_yes
        precision, recall = found.get("precision", 0.0), found.get("recall", 0.0)
        if precision + recall:
            found["f1"] = 2 * precision * recall / (precision + recall)
        return found


class PopeTally:
    """Metrics of each category, and their mean where every category has the metric."""

    def __init__(self) -> None:
        self._categories: dict[str, _YesNoCounts] = defaultdict(_YesNoCounts)

    def add(self, question: Question, grade: Grade) -> None:
        self._categories[question.kind].add(grade.parsed, question.truth)

    def metrics(self) -> dict[str, float]:
        by_category = {name: counts.metrics() for name, counts in self._categories.items()}
        means = {}
        for metric in ("f1", "accuracy", "precision", "recall", "yes_ratio"):
            values = [found[metric] for found in by_category.values() if metric in found]
            if values and len(values) == len(by_category):
                means[metric] = sum(values) / len(values)
        parts = {
            f"{name}/{metric}": value
            for name, found in by_category.items()
            for metric, value in found.items()
        }
        return means | parts
