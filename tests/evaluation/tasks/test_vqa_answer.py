"""Answers are normalized as by the authors' scripts, whose results stand in originals/."""

from llava_serve.evaluation.tasks.vqa_answer import evalai_answer, normalized, without_breaks
from tests.evaluation.tasks.answering import original


def test_every_constructed_answer_is_normalized_as_by_the_originals() -> None:
    cases = original("vqa_answers")["answers"]
    ours = [(evalai_answer(case[0]), normalized(without_breaks(case[0]))) for case in cases]
    assert len(cases) > 700
    assert ours == [(evalai, official) for _, evalai, official in cases]


def test_a_contraction_is_completed_and_an_article_left_out() -> None:
    assert normalized("the dog cant") == "dog can't"
    assert normalized("yalld've") == "yalld've"  # two apostrophes short: the authors know it not


def test_only_the_first_32_periods_go() -> None:
    assert normalized("." * 40) == "." * 8
