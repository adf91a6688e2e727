"""Accuracy of questions with options, and by CircularEval: right in every order of the options.

Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/multiple_choice.py::report_acc,
mcq_vanilla_eval, mcq_circular_eval, all with exact matching
"""

from collections.abc import Hashable
from dataclasses import dataclass

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.tasks.mean_credit import MeanCredit
from llava_serve.evaluation.tasks.option_question import parts_of


@dataclass(slots=True)
class _Rotations:
    """What is known of the rotations of one question; parts are those of its first order."""

    are_right: bool = True
    parts: list[str] | None = None


class OptionTally:
    """`accuracy` is over all rows.

    With CircularEval there are two more: `vanilla_accuracy` over the questions in their first
    order, and `circular_accuracy` over groups of rotations. For it a group is kept in memory as
    long as its rows may come, which is to the end.
    """

    def __init__(self, *, circular: bool) -> None:
        self._all = MeanCredit()
        self._first = MeanCredit("vanilla_accuracy")
        self._groups: dict[Hashable, _Rotations] | None = {} if circular else None
        self._splits: set[str] = set()

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is None:
            return
        metadata = question.metadata
        parts = parts_of(metadata)
        self._splits.add(metadata.get("split", ""))
        self._all.add(grade.credit, parts)
        if self._groups is None:
            return
        group = self._groups.setdefault(metadata["group"], _Rotations())
        group.are_right &= grade.credit == 1
        if metadata["is_main"]:
            group.parts = parts
            self._first.add(grade.credit, parts)

    def metrics(self) -> dict[str, float]:
        circular = MeanCredit("circular_accuracy")
        for group in (self._groups or {}).values():
            if group.parts is not None:
                circular.add(float(group.are_right), group.parts)
        found = {**circular.metrics(), **self._all.metrics(), **self._first.metrics()}
        if len(self._splits) > 1:
            return found
        return {name: value for name, value in found.items() if not name.startswith("split/")}
