"""A worker sees if its answers follow the pictures, whatever its words and its rounding are."""

import json
import math

import pytest

from llava_serve.cluster.registry.sight import CanaryAnswer, Comparison, judge, moved


def answer(text: str, *places: dict[str, float]) -> CanaryAnswer:
    """Return an answer whose tokens are the first ones of `places`."""
    return CanaryAnswer(text, tuple((next(iter(place)), place) for place in places))


RED = answer("red", {"red": -0.1, "blue": -5.0, "</s>": -7.0})
BLUE = answer("blue", {"blue": -0.2, "red": -4.0, "</s>": -7.1})


def test_other_words_with_moved_logprobs_are_sight() -> None:
    sight = judge([Comparison(RED, BLUE, RED)])
    assert sight.sees is True


def test_one_question_that_is_answered_by_the_picture_is_enough() -> None:
    same = Comparison(RED, RED, RED)
    assert judge([same, Comparison(RED, BLUE, RED)]).sees is True


def test_a_worker_that_answers_all_pictures_alike_is_blind_and_the_reason_says_so() -> None:
    said = answer("I see no picture.", {"I": -0.1, "The": -3.0})
    sight = judge([Comparison(said, said, said)] * 2)
    assert sight.sees is False
    assert "'I see no picture.' and 'I see no picture.' whatever the pictures show" in sight.reason


@pytest.mark.parametrize("by", [0.0, 0.03, 0.09])
def test_rounding_is_no_sight(by: float) -> None:
    other = answer("red", {"red": -0.1 - by, "blue": -5.0 + by, "</s>": -7.0 - by})
    assert judge([Comparison(RED, other, RED)]).sees is False


def test_a_tie_that_rounding_decides_is_no_sight() -> None:
    one = answer("A", {"A": -0.70, "B": -0.71})
    other = answer("B", {"B": -0.70, "A": -0.71})
    assert judge([Comparison(one, other, one)]).sees is False


def test_what_the_same_question_moves_is_no_sight() -> None:
    swapped = answer("red", {"red": -0.3, "blue": -5.2, "</s>": -7.2})
    again = answer("red", {"red": -0.2, "blue": -5.1, "</s>": -7.1})
    assert judge([Comparison(RED, swapped, again)]).sees is False


def test_an_engine_that_draws_its_answers_is_not_judged() -> None:
    assert judge([Comparison(RED, RED, BLUE)]).sees is None


def test_the_same_words_less_surely_say_too_little() -> None:
    unsure = answer("red", {"red": -0.5, "blue": -3.0, "</s>": -6.0})
    sight = judge([Comparison(RED, unsure, RED)] * 2)
    assert sight.sees is None
    assert "less surely" in sight.reason


def test_tokens_behind_the_first_different_one_do_not_count() -> None:
    one = answer("a x", {"a": -1.0, "b": -1.01}, {"x": -0.1})
    other = answer("b y", {"b": -1.0, "a": -1.01}, {"y": -9.0})
    assert moved(one, other) == pytest.approx(0.01)


def test_without_logprobs_the_words_decide() -> None:
    one, other = CanaryAnswer("A red circle"), CanaryAnswer("A blue circle")
    assert judge([Comparison(one, other, one)]).sees is True
    assert judge([Comparison(one, CanaryAnswer(" A red circle\n"), one)]).sees is False


def completion(text: object, *tokens: dict[str, object]) -> object:
    logprobs = {"content": tokens} if tokens else None
    return {"choices": [{"message": {"content": text}, "logprobs": logprobs}]}


def token(name: str, logprob: object, **top: object) -> dict[str, object]:
    others = [{"token": other, "logprob": value} for other, value in top.items()]
    return {"token": name, "logprob": logprob, "top_logprobs": others}


def test_a_completion_is_read() -> None:
    read = CanaryAnswer.of(completion("red", token("red", -0.1, red=-0.1, blue=-5)))
    assert read == CanaryAnswer("red", (("red", {"red": -0.1, "blue": -5}),))


@pytest.mark.parametrize(
    "value", [None, math.nan, -math.inf, "x", pytest.param(-(10**400), id="400 digits")]
)
def test_logprobs_that_are_no_numbers_leave_it_to_the_words(value: object) -> None:
    body = json.loads(json.dumps(completion("!!", token("!", -0.1), token("!", value))))
    assert CanaryAnswer.of(body) == CanaryAnswer("!!")


@pytest.mark.parametrize("body", [{}, [], None, {"choices": []}, completion(None)])
def test_what_is_no_completion_is_refused(body: object) -> None:
    with pytest.raises((LookupError, TypeError)):
        CanaryAnswer.of(body)
