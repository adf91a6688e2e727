"""What a judge reads is laid out as LLaVA's rule files expect it."""

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.comparison import AnswerComparison, category_of, comparisons_of
from llava_serve.evaluation.review.inputs import (
    ImageContext,
    ImageObject,
    ReviewedAnswer,
    ReviewQuestion,
)
from llava_serve.evaluation.review.rules import ReviewRule

QUESTION = ReviewQuestion(question_id=7, text="What is it?", category="detail", image="7.jpg")
ANSWERS = (ReviewedAnswer(question_id=7, text="A"), ReviewedAnswer(question_id=7, text="B"))
RULE = ReviewRule(role="Expert", prompt="Score both.")
COCO = ImageContext(
    image="7.jpg",
    captions=["A cat.", "A black cat."],
    instances=[
        ImageObject(category="cat", bbox=(0.0, 0.25, 1.0, 0.5)),
        ImageObject(category="mat", bbox=(0, 0.5, 1, 1)),
    ],
)
WILD = ImageContext(image="7.jpg", caption=["A cat.", "It sleeps."])


def comparison(context: ImageContext | None) -> AnswerComparison:
    return AnswerComparison(QUESTION, context, ANSWERS, "detail", RULE)


def test_captions_and_boxes_come_before_the_question() -> None:
    assert comparison(COCO).prompt("ab") == (
        "[Context]\nA cat.\nA black cat.\n\ncat: [0.0, 0.25, 1.0, 0.5]\nmat: [0, 0.5, 1, 1]\n\n"
        "[Question]\nWhat is it?\n\n"
        "[Expert 1]\nA\n\n[End of Expert 1]\n\n[Expert 2]\nB\n\n[End of Expert 2]\n\n"
        "[System]\nScore both.\n\n"
    )


def test_swapped_the_second_answer_is_the_first_assistants() -> None:
    assert (
        comparison(WILD)
        .prompt("ba")
        .startswith(
            "[Context]\nA cat.\nIt sleeps.\n\n[Question]\nWhat is it?\n\n"
            "[Expert 1]\nB\n\n[End of Expert 1]\n\n[Expert 2]\nA\n\n"
        )
    )


def test_without_context_the_question_comes_first() -> None:
    assert comparison(None).prompt("ab").startswith("[Question]\n")


def test_a_category_in_the_wild_has_llavas_prefix_once() -> None:
    assert category_of(QUESTION, WILD) == "llava_bench_detail"
    assert category_of(QUESTION, COCO) == category_of(QUESTION, None) == "detail"
    prefixed = QUESTION.model_copy(update={"category": "llava_bench_detail"})
    assert category_of(prefixed, WILD) == "llava_bench_detail"


def test_a_category_without_a_rule_is_judged_by_the_default_or_refused() -> None:
    sides = ({"7": ANSWERS[0]}, {"7": ANSWERS[1]})
    ((_, _, made),) = comparisons_of([QUESTION], None, sides, {"default": RULE})
    assert made is not None and made.rule is RULE
    with pytest.raises(CommandError, match="question 7 is of the category 'detail'") as refused:
        list(comparisons_of([QUESTION], None, sides, {"math": RULE}))
    assert "math" in refused.value.remedy


def test_an_image_of_which_nothing_is_told_is_refused() -> None:
    with pytest.raises(CommandError, match=r"no line about '7.jpg', the image of question 7"):
        list(comparisons_of([QUESTION], {}, ({}, {}), {"detail": RULE}))
