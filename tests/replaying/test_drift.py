"""Two answers are compared up to the first other token, at which both still know the same."""

import math

import pytest

from llava_serve.replaying.drift import drift_of
from llava_serve.replaying.recording import RecordedAnswer, RecordedToken


def answer(*places: dict[str, float], prompt_tokens: int | None = None) -> RecordedAnswer:
    """Return an answer whose tokens are the first ones of `places`."""
    tokens = [
        RecordedToken(token=next(iter(place)), logprob=next(iter(place.values())), top=place)
        for place in places
    ]
    text = "".join(one.token for one in tokens)
    return RecordedAnswer(
        text=text, finish_reason="stop", tokens=tokens, prompt_tokens=prompt_tokens
    )


RED = {"red": math.log(0.8), "blue": math.log(0.1)}
BLUE = {"blue": math.log(0.6), "red": math.log(0.3)}


def test_the_same_answer_has_not_moved() -> None:
    drift = drift_of("a", answer(RED, BLUE), answer(RED, BLUE))
    assert (drift.first_difference, drift.max_logprob, drift.mean_kl) == (None, 0, 0)
    assert not drift.exceeds(0)


def test_the_recorded_tokens_logprobs_are_compared() -> None:
    surer = {"red": math.log(0.9), "blue": math.log(0.05)}
    drift = drift_of("a", answer(RED, RED), answer(RED, surer))
    assert drift.first_difference is None
    assert drift.max_logprob == pytest.approx(math.log(0.9 / 0.8))
    assert drift.mean_logprob == pytest.approx(math.log(0.9 / 0.8) / 2)
    expected = 0.8 * math.log(0.8 / 0.9) + 0.1 * math.log(0.1 / 0.05) + 0.1 * math.log(0.1 / 0.05)
    assert drift.mean_kl == pytest.approx(expected / 2)


def test_nothing_behind_the_first_other_token_counts() -> None:
    drift = drift_of("a", answer(RED, RED, RED), answer(RED, BLUE, {"x": -20.0}))
    assert drift.first_difference == 1
    assert drift.max_logprob == pytest.approx(math.log(0.8 / 0.3))


def test_a_tie_that_was_decided_the_other_way_is_within_the_tolerance() -> None:
    one, other = {"a": -0.69, "b": -0.70}, {"b": -0.69, "a": -0.70}
    drift = drift_of("a", answer(one), answer(other))
    assert drift.first_difference == 0
    assert not drift.exceeds(0.05)
    assert drift.exceeds(0.005)


def test_a_token_that_is_not_told_is_less_likely_than_all_that_are() -> None:
    drift = drift_of("a", answer(RED), answer({"x": -0.1, "y": -8.0}))
    assert drift.max_logprob == pytest.approx(8 + math.log(0.8))


def test_without_the_likeliest_tokens_another_token_is_past_every_tolerance() -> None:
    def alone(token: str) -> RecordedAnswer:
        told = [RecordedToken(token=token, logprob=-0.1)]
        return RecordedAnswer(text=token, finish_reason="stop", tokens=told)

    drift = drift_of("a", alone("x"), alone("y"))
    assert drift.exceeds(1000)
    assert drift.mean_kl is None
    assert not drift_of("a", alone("x"), alone("x")).exceeds(0)


@pytest.mark.parametrize(("before", "after"), [((RED,), (RED, RED)), ((RED, RED), (RED,))])
def test_an_answer_that_ends_elsewhere_is_past_every_tolerance(
    before: tuple[dict[str, float], ...], after: tuple[dict[str, float], ...]
) -> None:
    drift = drift_of("a", answer(*before), answer(*after))
    assert drift.first_difference == 1
    assert drift.exceeds(1000)


def test_a_prompt_of_other_length_is_past_every_tolerance() -> None:
    drift = drift_of("a", answer(RED, prompt_tokens=14), answer(RED, prompt_tokens=12))
    assert drift.prompt_tokens == (14, 12)
    assert drift.exceeds(1000)
    assert not drift_of("a", answer(RED, prompt_tokens=14), answer(RED)).exceeds(0)
