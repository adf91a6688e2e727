"""Task of lmms-eval: its questions, and the metrics that lmms-eval computes of all at once."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from llava_serve.errors import CommandError
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.lmms_eval.generation import settings_of
from llava_serve.evaluation.lmms_eval.messages import turns_of
from llava_serve.evaluation.lmms_eval.replay import Document, document_of, evaluate, leaves
from llava_serve.evaluation.lmms_eval.scores import grades_of, main_metric_of, metrics_of
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered

logger = logging.getLogger(__name__)

# Source: EvolvingLMMs-Lab/lmms-eval@75571cfe lmms_eval/evaluator.py::simple_evaluate
_FEWSHOT_SEED = 1234


class LmmsTask:
    """A task or a group of lmms-eval that is loaded, with its requests made.

    `tree` holds the tasks as lmms-eval nests them. Of a group's tasks one document each is asked
    in turn, so that the first questions are of all of them.
    """

    def __init__(self, name: str, tree: dict[Any, Any]) -> None:
        """Take a task's requests.

        Raises:
            CommandError: a setting of theirs cannot be asked of a server.
        """
        self.name = f"lmms:{name}"
        self._name = name
        self._tree = tree
        self._tasks = leaves(tree)
        self._of = {task.task_name: task for task in self._tasks}
        self._instances = [
            instance
            for row in zip_longest(*(task.instances for task in self._tasks))
            for instance in row
            if instance is not None
        ]
        self._times = Counter[Document]()
        self.max_tokens = 0
        for instance in self._instances:
            settings = settings_of(instance.args[2], instance.task_name)
            self.max_tokens = max(self.max_tokens, settings["max_tokens"])
            self._times[document_of(instance)] += instance.repeats or 1
        self.main_metric = main_metric_of(tree, name)
        self._grades: dict[Document, Grade] = {}
        self._results: dict[str, Any] = {}

    def questions(self) -> Iterator[Question]:
        """Yield the questions; each is made anew from its document.

        Raises:
            CommandError: a document cannot be made a question; names it.
        """
        for task in self._tasks:
            task.set_fewshot_seed(seed=_FEWSHOT_SEED)
        for instance in self._instances:
            question = self._question(instance)
            for _ in range(instance.repeats or 1):
                yield question

    def grade_all(self, answers: Iterable[tuple[Question, AnswerRecord]], folder: Path) -> None:
        """Have lmms-eval compute its metrics; documents with an answer that failed are left out.

        Raises:
            CommandError: the task's own code fails.
        """
        kept: dict[Document, list[AnswerRecord]] = {}
        for question, record in answers:
            if record.failure is None:
                document = question.metadata["task"], question.metadata["doc_id"]
                kept.setdefault(document, []).append(record)
        whole = {one: told for one, told in kept.items() if len(told) == self._times[one]}
        self._grades, self._results = {}, {}
        if not whole:
            return
        try:
            self._results = evaluate(self._name, self._tree, whole, folder)
        except Exception as exc:  # a task runs code of its own
            logger.exception("lmms-eval's metrics")
            raise CommandError(
                f"lmms-eval fails at the metrics of {self._name!r}: {type(exc).__name__}: {exc}",
                "The answers are kept: correct what it needs, such as a key of the judge that the "
                "task asks, and give the command again.",
            ) from exc
        self._grades = grades_of(self._results, self._tasks)

    def grade(self, question: Question, text: str) -> Grade:
        """Return what lmms-eval read out of an answer, and its score where that is a share."""
        document = question.metadata["task"], question.metadata["doc_id"]
        return self._grades.get(document, Grade(text, None))

    def tally(self) -> "LmmsTally":
        return LmmsTally(metrics_of(self._results, self._name) if self._results else {})

    def write_submission(self, _answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write lmms-eval's results and samples, beside what the task itself has written there."""
        from lmms_eval.utils import handle_non_serializable

        if not self._results:
            return []
        samples = self._results["samples"]
        results = {name: value for name, value in self._results.items() if name != "samples"}
        for name, value in {"lmms_eval_results": results, "lmms_eval_samples": samples}.items():
            text = json.dumps(value, indent=2, default=handle_non_serializable, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def _question(self, instance: Any) -> Question:
        _, doc_to_messages, kwargs, number, name, split = instance.args
        task = self._of[name]
        asked = f"document {number} of the lmms-eval task {name!r}"
        try:
            document = task.dataset[split][number]
            messages, truth = doc_to_messages(document), task.doc_to_target(document)
        except Exception as exc:  # a task runs code of its own
            what = f"{asked} cannot be made a question: {type(exc).__name__}: {exc}"
            raise CommandError(what, "Correct the task or its data.") from exc
        is_group = len(self._tasks) > 1
        return Question(
            id=f"{name}/{number}" if is_group else str(number),
            turns=turns_of(messages, asked),
            kind=name if is_group else "",
            truth=truth if isinstance(truth, str | int | float | None) else str(truth),
            metadata={"task": name, "doc_id": number},
            settings=settings_of(kwargs, name),
        )


class LmmsTally:
    """Metrics that lmms-eval has computed."""

    def __init__(self, metrics: dict[str, float]) -> None:
        self._metrics = metrics

    def add(self, question: Question, grade: Grade) -> None:
        """Count nothing: lmms-eval has counted."""

    def metrics(self) -> dict[str, float]:
        return self._metrics
