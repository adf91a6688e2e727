"""Scores in lmms-eval's results: metrics by name, and what one answer is worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llava_serve.evaluation.lmms_eval.replay import Document, leaves
from llava_serve.evaluation.question import Grade

_NO_FILTER = "none"


def main_metric_of(tree: Mapping[Any, Any], name: str) -> str:
    """Return the key in `metrics_of` of the first metric that a task, or a group, names.

    A group that names none is known by its first task.
    """
    for group in tree:
        told = {} if isinstance(group, str) else group.config
        if listed := told.get("aggregate_metric_list"):
            return str(listed[0]["metric"])
    task = leaves(tree)[0]
    chosen = task.config.filter_list[0]["name"] if task.config.filter_list else _NO_FILTER
    metric = _first_metric(task) if chosen == _NO_FILTER else f"{_first_metric(task)},{chosen}"
    return metric if task.task_name == name else f"{task.task_name}/{metric}"


def metrics_of(results: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the metrics of the task or group `name`, and those of its parts as `PART/METRIC`.

    lmms-eval names each by its filter too, as `METRIC,FILTER`; that stays where there is one.
    """
    metrics = {}
    for part, told in results["results"].items():
        for key, value in told.items():
            metric, _, chosen = key.partition(",")
            if metric.endswith(("_stderr", "_stderr_clt", "_stderr_clustered")):
                continue
            if _is_number(value) and math.isfinite(value):
                metric = metric if chosen in ("", _NO_FILTER) else key
                metrics[metric if part == name else f"{part}/{metric}"] = float(value)
    return metrics


def grades_of(results: Mapping[str, Any], tasks: Sequence[Any]) -> dict[Document, Grade]:
    """Return what each answer is worth by its task's first metric, where that is a share.

    A metric whose scores of one answer go beyond 0 to 1, are no numbers, or are better when lower,
    gives no credit. Where a task has several filters, the first counts.
    """
    grades: dict[Document, Grade] = {}
    for task in tasks:
        samples = results["samples"].get(task.task_name, ())
        credits = _credits(task, samples)
        for sample, credit in zip(samples, credits, strict=True):
            parsed = ", ".join(map(str, _flat(sample["filtered_resps"])))
            grades.setdefault((task.task_name, int(sample["doc_id"])), Grade(parsed, credit))
    return grades


def _credits(task: Any, samples: Sequence[Mapping[str, Any]]) -> list[float | None]:
    metric = _first_metric(task)
    scores = [_score(sample.get(metric), task) for sample in samples]
    is_credit = (
        all(score is not None and 0 <= score <= 1 for score in scores)
        and task.higher_is_better().get(metric, True)
        and (task.config.repeats or 1) == 1
    )
    return [score if is_credit else None for score in scores]


def _first_metric(task: Any) -> str:
    return next(iter(task.aggregation()), "")


def _score(value: Any, task: Any) -> float | None:
    """Return a number, or that of what a task keeps for its own sums, under lmms-eval's key."""
    if isinstance(value, dict):
        value = value.get(task.config.score_key)
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value
