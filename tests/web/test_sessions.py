"""A tab's conversations stay its own, for as long as it can be expected back."""

from llava_serve.web import sessions
from llava_serve.web.sessions import Sessions


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_tab_has_its_own_conversations() -> None:
    known = Sessions()
    one, other = known.open("one", ["a", "b"]), known.open("other", [])
    assert (one.chat.wanted, one.compare.wanted) == (("a",), ("a", "b"))
    assert known.of("one") is one and known.of("other") is other
    assert known.open("one", ["c"]) is one  # the same tab has loaded the page twice


def test_a_tab_that_slept_through_the_night_has_lost_nothing() -> None:
    clock = Clock()
    known = Sessions(clock)
    mine = known.open("one", [])
    clock.now = sessions.IDLE_S - 1.0
    known.open("other", [])
    assert known.of("one") is mine and not mine.chat.is_lost


def test_a_tab_that_was_away_too_long_begins_anew_and_is_told() -> None:
    clock = Clock()
    known = Sessions(clock)
    mine = known.open("one", [])
    clock.now = sessions.IDLE_S + 1.0
    known.open("other", [])
    assert known.of("one") is not mine
    assert known.of("one").chat.is_lost and known.of("one").compare.is_lost
    assert not known.of("other").chat.is_lost


def test_the_tab_that_was_silent_longest_makes_room() -> None:
    known = Sessions()
    first, second = known.open("first", []), known.open("second", [])
    known.of("first")
    for number in range(sessions.MOST - 1):
        known.open(str(number), [])
    assert known.of("first") is first
    assert known.of("second") is not second
