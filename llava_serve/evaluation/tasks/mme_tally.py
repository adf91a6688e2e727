"""Scores of MME: accuracy of the answers, and of the images with both answers right."""

from collections import defaultdict
from dataclasses import dataclass, field

from llava_serve.evaluation.question import Grade, Question

# Source: zjunlp/Deco@a3ccc15 eval_tool/calculation.py::eval_type_dict
PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = (
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)


@dataclass(slots=True)
class _Subtask:
    answers: int = 0
    right: int = 0
    images: int = 0
    wholly_right: int = 0
    halves: dict[str, bool] = field(default_factory=dict)  # images with one answer so far

    def add(self, image: str, is_right: bool) -> None:
        self.answers += 1
        self.right += is_right
        if image not in self.halves:
            self.halves[image] = is_right
            return
        self.images += 1
        self.wholly_right += self.halves.pop(image) and is_right


class MmeTally:
    """Scores of the two halves of MME, and of each subtask: 200 at most.

    An image counts for `accuracy_plus` when both of its questions were answered.

    Source: zjunlp/Deco@a3ccc15 eval_tool/calculation.py::calculate_metrics.process_result
    """

    def __init__(self) -> None:
        self._subtasks: dict[str, _Subtask] = defaultdict(_Subtask)

    def add(self, question: Question, grade: Grade) -> None:
        self._subtasks[question.kind].add(question.metadata["image"], grade.credit == 1)

    def metrics(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        parts: dict[str, float] = {}
        for half, names in (("perception", PERCEPTION), ("cognition", COGNITION)):
            for name in names:
                if (subtask := self._subtasks.get(name)) is None or not subtask.images:
                    continue
                found = _metrics(subtask)
                totals[half] = totals.get(half, 0.0) + found["score"]
                parts |= {f"{name}/{metric}": value for metric, value in found.items()}
        return totals | parts


def _metrics(subtask: _Subtask) -> dict[str, float]:
    accuracy = subtask.right / subtask.answers
    plus = subtask.wholly_right / subtask.images
    return {
        "score": 100 * accuracy + 100 * plus,
        "accuracy": accuracy,
        "accuracy_plus": plus,
    }
