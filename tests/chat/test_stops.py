import random

import pytest

from llava_serve.chat.stops import StopMatcher


def cut(text: str, dice: random.Random) -> list[str]:
    places = sorted(dice.choices(range(len(text) + 1), k=dice.randint(0, 5)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def run(stops: list[str], chunks: list[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    text = "".join(matcher.feed(chunk) for chunk in chunks) + matcher.flush()
    return text, matcher.stopped


@pytest.mark.parametrize("seed", range(300))
def test_any_cut_gives_what_find_gives_on_the_whole(seed: int) -> None:
    dice = random.Random(seed)
    text = "".join(dice.choices("ab#", k=dice.randint(0, 30)))
    stops = ["".join(dice.choices("ab#", k=dice.randint(1, 4))) for _ in range(dice.randint(0, 3))]
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    expected = text[: min(found)[1]] if found else text  # the stop that is complete first
    assert run(stops, cut(text, dice)) == (expected, bool(found))
    assert run(stops, list(text)) == (expected, bool(found))


@pytest.mark.parametrize("seed", range(300))
def test_nothing_of_a_stop_string_is_ever_shown(seed: int) -> None:
    dice = random.Random(seed)
    text = "".join(dice.choices("ab", k=10)) + "###" + "".join(dice.choices("ab", k=5))
    text, stopped = run(["###"], cut(text, dice))
    assert stopped
    assert "#" not in text


def test_text_that_could_become_a_stop_waits_and_the_rest_does_not() -> None:
    matcher = StopMatcher(["</s>", "STOP"])
    assert matcher.feed("hello </") == "hello "
    assert matcher.feed("b> ST") == "</b> "
    assert matcher.feed("AR") == "STAR"
    assert not matcher.stopped


def test_what_was_held_back_comes_out_at_the_end() -> None:
    matcher = StopMatcher(["</s>"])
    assert matcher.feed("a</") == "a"
    assert matcher.flush() == "</"
    assert matcher.flush() == ""


def test_after_a_stop_nothing_comes() -> None:
    matcher = StopMatcher(["."])
    assert matcher.feed("one. two") == "one"
    assert matcher.feed("three") == ""
    assert matcher.flush() == ""


def test_without_stops_everything_passes_at_once() -> None:
    assert StopMatcher([]).feed("text") == "text"
