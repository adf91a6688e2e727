"""Constant answer: what saying always the same would have scored, by the task's own grading."""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.question import Question
from llava_serve.evaluation.report.run_tally import KindNames
from llava_serve.evaluation.task import GradesTogether, Task

_TRIED = 3  # answers of each kind
_KEPT = 256  # different answers of a kind that are counted
_LONGEST = 60  # characters of an answer that may come again
_GRADED = 20_000  # questions of a kind, about; drawn where it has more
_DRAWN_OF = 1 << 32


@dataclass(slots=True)
class _Candidates:
    """Right answers of one kind: counted in a first pass, graded in a second one."""

    n: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    graded: int = 0
    credits: dict[str, float] = field(default_factory=dict)

    def count(self, texts: Iterable[str]) -> None:
        self.n += 1
        for text in texts:
            if text in self.counts or len(self.counts) < _KEPT:
                self.counts[text] += 1

    def choose(self, tried: int) -> None:
        self.credits = {text: 0.0 for text, _ in self.counts.most_common(tried)}

    def grade(self, task: Task, question: Question, index: int) -> None:
        """Grade the question if it is drawn: files are in an order that every nth would follow."""
        if zlib.crc32(b"%d" % index) >= _DRAWN_OF * _GRADED / self.n:
            return
        self.graded += 1
        for text in self.credits:
            self.credits[text] += task.grade(question, text).credit or 0.0

    def best(self) -> tuple[str, float] | None:
        if not self.credits or not self.graded:
            return None
        text = max(self.credits, key=self.credits.__getitem__)
        return text, self.credits[text] / self.graded


class ConstantAnswers:
    """Finds the best constant answer of each kind and of all questions.

    Tried are the answers that are right most often: texts of truths, and answers of the model that
    got credit. `count` sees each graded answer, then `choose` is called, then `grade` sees each
    again beside its question. A task that grades all answers together cannot grade one that was
    never given: of it none is tried.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tried = 0 if isinstance(task, GradesTogether) else _TRIED
        self._names = KindNames()
        self._kinds: dict[str, _Candidates] = {}
        self._total = _Candidates()

    def count(self, answer: GradedAnswer) -> None:
        """Count what is right for a question that was graded."""
        if answer.credit is None:
            return
        texts = set(_texts_of(answer.truth))
        if answer.credit > 0 and answer.text is not None:
            texts.add(answer.text.strip())
        short = [text for text in texts if 0 < len(text) <= _LONGEST]
        self._total.count(short)
        self._kinds.setdefault(self._names.name(answer.kind), _Candidates()).count(short)

    def choose(self) -> None:
        """Choose which answers to try."""
        self._total.choose(self._tried)
        for kind in self._kinds.values():
            kind.choose(self._tried)

    def grade(self, question: Question, answer: GradedAnswer) -> None:
        """Let the task grade the chosen answers to a question."""
        if answer.credit is not None:
            self._total.grade(self._task, question, answer.index)
            kind = self._kinds[self._names.name(answer.kind)]
            kind.grade(self._task, question, answer.index)

    def best(self, kind: str | None = None) -> tuple[str, float] | None:
        """Return text and mean credit for a kind as it is counted, or for all questions."""
        found = self._total if kind is None else self._kinds.get(kind)
        return None if found is None else found.best()


def _texts_of(truth: Any) -> Iterable[str]:
    if isinstance(truth, str):
        return (truth,)
    if isinstance(truth, bool):
        return ("yes" if truth else "no",)
    if isinstance(truth, int | float):
        return (str(truth),)
    if isinstance(truth, list | tuple):
        return (text for one in truth for text in _texts_of(one))
    return ()
