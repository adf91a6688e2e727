"""Replay of kept answers to lmms-eval, which computes its metrics over them."""

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llava_serve.evaluation.answer_record import AnswerRecord

# Where a question of lmms-eval comes from: its task, and the number of the document in its split.
Document = tuple[str, int]
Answers = Mapping[Document, Sequence[AnswerRecord]]  # of a document, as often as it is asked

# What lmms-eval's own command line cuts out of answers before they are scored.
# Source: EvolvingLMMs-Lab/lmms-eval@75571cfe lmms_eval/__main__.py::parse_eval_args
_REASONING_TAGS = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'


def document_of(instance: Any) -> Document:
    """Return where a request of lmms-eval comes from."""
    return str(instance.task_name), int(instance.doc_id)


def evaluate(name: str, tree: dict[Any, Any], answers: Answers, folder: Path) -> dict[str, Any]:
    """Return lmms-eval's results over the answers; documents without any are left out.

    `tree` are the loaded tasks as lmms-eval nests them in groups, and `folder` is where a task may
    write files for its authors. Whatever the task's own code raises comes through.
    """
    from lmms_eval.evaluator import simple_evaluate

    results: dict[str, Any] = simple_evaluate(
        model=_replaying(tree, answers),
        tasks=[name],
        task_manager=_Loaded(tree),
        log_samples=True,
        cli_args=Namespace(
            output_path=str(folder), process_with_media=False, reasoning_tags=_REASONING_TAGS
        ),
    )
    for task, documents in Counter(task for task, _ in answers).items():
        results["n-samples"][task]["effective"] = documents
    return results


def leaves(tree: Mapping[Any, Any]) -> list[Any]:
    """Return the tasks of a group, of its groups too, in lmms-eval's order."""
    found: list[Any] = []
    for branch in tree.values():
        found += leaves(branch) if isinstance(branch, dict) else [branch]
    return found


class _Loaded:
    """Stands where lmms-eval loads tasks, and gives those that are loaded."""

    def __init__(self, tree: dict[Any, Any]) -> None:
        self._tree = tree

    def load_task_or_group(self, _names: Sequence[str], _kind: str) -> dict[Any, Any]:
        return self._tree


def _replaying(tree: Mapping[Any, Any], answers: Answers) -> Any:
    """Return a model of lmms-eval's own class; that is known only where lmms-eval is imported."""
    from lmms_eval.api.instance import GenerationResult, TokenCounts
    from lmms_eval.api.model import lmms

    class ServedModel(lmms):  # type: ignore[misc, unused-ignore]
        """A model of which everything was asked before."""

        is_simple = False
        accelerator = None  # lmms-eval makes one otherwise, which takes memory of a GPU

        def generate_until(self, requests: Sequence[Any]) -> list[Any]:
            left = {document: iter(records) for document, records in answers.items()}
            told = []
            for request in requests:
                record = next(left.get(document_of(request), iter(())), None)
                told.append(_result(record))
            self._leave_out_what_failed()
            return told

        def _leave_out_what_failed(self) -> None:
            """lmms-eval scores an empty answer otherwise: it knows of none that failed."""
            for task in leaves(tree):
                task._instances = [one for one in task.instances if document_of(one) in answers]

        def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
            raise NotImplementedError

        def generate_until_multi_round(self, requests: Sequence[Any]) -> list[Any]:
            raise NotImplementedError

    def _result(record: AnswerRecord | None) -> Any:
        if record is None:
            return ""
        counts = TokenCounts(input_tokens=record.prompt_tokens, output_tokens=record.tokens)
        return GenerationResult(text=record.text or "", token_counts=counts)

    return ServedModel()
