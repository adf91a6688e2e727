"""Review file as LLaVA's scripts write it, so that its own summary reads ours."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from llava_serve.evaluation.review.comparison import ORDERS
from llava_serve.evaluation.review.inputs import ReviewedAnswer
from llava_serve.evaluation.review.review_set import ReviewSet
from llava_serve.evaluation.review.reviews_file import index_of
from llava_serve.evaluation.review.summary import ScoredPair
from llava_serve.evaluation.review.summing import Records


def llava_lines(
    reviews: ReviewSet, pairs: Mapping[str, ScoredPair], records: Records
) -> Iterator[str]:
    """Yield a line for both orders of each question that is scored in both.

    `tuple` is of A and B in both lines, so that LLaVA's means are those over both orders.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/eval_gpt_review_bench.py.
    """
    for number, one in enumerate(reviews.comparisons):
        if one.key not in pairs:
            continue
        for order in ORDERS:
            index = index_of(number, order)
            line: dict[str, Any] = {
                "id": index + 1,
                "question_id": one.question.question_id,
                "answer1_id": _id(one.answers[0]),
                "answer2_id": _id(one.answers[1]),
                "category": one.category,
                "content": records[index].text,
                "tuple": records[index].scores,
            }
            yield json.dumps(line) + "\n"


def _id(answer: ReviewedAnswer) -> int | str:
    return answer.question_id if answer.answer_id is None else answer.answer_id
