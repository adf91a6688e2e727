"""Scores of a review: the two numbers of its first line, or why there are none."""

import re
from dataclasses import dataclass
from typing import Literal

LOWEST, HIGHEST = 0.0, 10.0
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_PAIR = re.compile(rf"{_NUMBER}(?:\s*,\s*|\s+){_NUMBER}")

ScoresFailure = Literal["empty", "no_scores", "out_of_range", "cut"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the answers in the order in which the judge got them, each from 0 to 10."""

    first: float
    second: float


def read_scores(text: str, *, is_cut: bool = False) -> Scores | ScoresFailure:
    """Read a judge's text, or name what is wrong with it.

    Its first line that is not blank must hold two numbers from 0 to 10, with a space or a comma
    between them, and nothing else. Judges are told to begin at 1, and yet give 0 to an answer that
    is empty: to leave such reviews out would hide the worst answers. `is_cut` says that the text
    ends at a limit of tokens: a line that ends there may lack a digit.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_gpt_review_bench.py::parse_score, which takes
    any two numbers, and scores what it cannot read with -1. A 0 from GPT-4: there,
    llava/eval/table/review/review_llama-13b_vicuna-13b.jsonl, question 74.
    """
    line, newline, _ = text.strip("\r\n\t ").partition("\n")
    found = _PAIR.fullmatch(line.strip())
    if not line:
        return "empty"
    if is_cut and not newline:
        return "cut"
    if found is None:
        return "no_scores"
    first, second = float(found[1]), float(found[2])
    if not all(LOWEST <= score <= HIGHEST for score in (first, second)):
        return "out_of_range"
    return Scores(first, second)
