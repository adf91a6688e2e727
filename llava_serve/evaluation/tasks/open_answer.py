"""Open answers of a few words, as VLMEvalKit grades those of its VQA files.

Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/vqa_eval.py::process_line and
::hit_calculate, vlmeval/dataset/image_vqa.py::ImageVQADataset.evaluate_heuristic
"""

import ast
import re
from collections.abc import Callable, Sequence

from llava_serve.evaluation.tasks import vqa_answer
from llava_serve.evaluation.tasks.vqa_accuracy import agreement

_PERIOD = re.compile(r"(?<!\d)\.(?!\d)")
_CLOSE = 0.05  # part of the right number by which an answer may be off
_LEAST_ANLS = 0.5


def open_credit(name: str, answer: str, truths: Sequence[str]) -> float:
    """Return what an answer is worth, by the metric of the file that has this name.

    Files of other names: VQA accuracy where several answers are given, and equality of the
    normalized answers where there is one (which by VQA accuracy nothing would agree with).
    """
    for part, credit in _BY_NAME:
        if part in name:
            return credit(answer, truths)
    if len(truths) == 1:
        return float(_normalized(answer) == _normalized(truths[0]))
    return _vqa_accuracy(answer, truths)


def right_answers(field: str) -> list[str]:
    """Return the answers of a field, which may hold a list as Python writes it."""
    try:
        entries = ast.literal_eval(field)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [field]
    return [str(entry) for entry in entries] if isinstance(entries, list) and entries else [field]


def without_marks(text: str) -> str:
    """Return a text without punctuation: as VQA does it, and a period stays behind a digit too.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/smp/misc.py::process_punctuation
    """
    return vqa_answer.without_marks(text, _PERIOD)


def _normalized(answer: str) -> str:
    return vqa_answer.normalized_words(without_marks(vqa_answer.without_breaks(answer)))


def _vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    return agreement(_normalized(answer), [_normalized(truth) for truth in truths])


def _is_close(answer: str, truth: str) -> bool:
    """Tell whether a number is within 5 % of the right one, or a text is the same."""
    given, right = _number(answer), _number(truth)
    if given is not None and right:
        return abs(given - right) / abs(right) <= _CLOSE
    return answer.lower() == truth.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _relaxed_accuracy(answer: str, truths: Sequence[str]) -> float:
    return float(any(_is_close(answer.strip(), truth) for truth in truths))


def _equal(answer: str, truths: Sequence[str]) -> list[float]:
    return [float(truth.strip().lower() == answer.strip().lower()) for truth in truths]


def _any_equal(answer: str, truths: Sequence[str]) -> float:
    return max(_equal(answer, truths))


def _mean_equal(answer: str, truths: Sequence[str]) -> float:
    return sum(_equal(answer, truths)) / len(truths)


def _anls(answer: str, truths: Sequence[str]) -> float:
    """Return the normalized Levenshtein similarity to the nearest answer; 0 below a half."""
    similarity = 1 - min(_distance(answer, truth) for truth in truths)
    return 0.0 if similarity < _LEAST_ANLS else similarity


def _distance(answer: str, truth: str) -> float:
    length = max(len(truth.upper()), len(answer.upper()))
    if length == 0:
        return 0.0
    return _edits(" ".join(answer.lower().split()), " ".join(truth.lower().split())) / length


def _edits(one: str, other: str) -> int:
    """Return how many letters are put in, taken out or replaced to turn one text into another."""
    row = list(range(len(one) + 1))
    for done, letter in enumerate(other, 1):
        diagonal, row[0] = row[0], done
        for place, old in enumerate(one, 1):
            best = diagonal if old == letter else 1 + min(diagonal, row[place], row[place - 1])
            diagonal, row[place] = row[place], best
    return row[-1]


_BY_NAME: tuple[tuple[str, Callable[[str, Sequence[str]], float]], ...] = (
    ("TextVQA", _vqa_accuracy),
    ("ChartQA", _relaxed_accuracy),
    ("OCRVQA", _any_equal),
    ("GQA", _mean_equal),
    ("DocVQA", _anls),
    ("InfoVQA", _anls),
)
