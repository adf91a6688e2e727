"""One version of an exchange is shown, with what followed it; the others are kept."""

from llava_serve.web.branches.versions import (
    Position,
    every,
    neighbour,
    position,
    put_in_place,
)
from llava_serve.web.chat_state import Exchange


def asked(text: str) -> Exchange:
    return Exchange(text, ())


def texts(exchanges: list[Exchange]) -> list[str]:
    return [one.text for one in exchanges]


def test_what_followed_a_version_comes_back_with_it() -> None:
    one, two, three = map(asked, ("one", "two", "three"))
    shown = [one, two, three]
    assert put_in_place(shown, 1, asked("other")) == [two, three]
    assert texts(shown) == ["one", "other"]
    put_in_place(shown, 2, asked("after other"))
    assert texts(shown) == ["one", "other", "after other"]
    put_in_place(shown, 1, two)
    assert shown == [one, two, three]
    assert two.versions == three.versions or three.versions == []
    assert texts(two.versions) == ["two", "other"]


def test_a_branch_that_was_chosen_below_another_is_still_chosen() -> None:
    shown = [asked("a"), asked("b")]
    first = shown[0]
    older = shown[1]
    put_in_place(shown, 1, asked("b2"))
    put_in_place(shown, 1, older)
    put_in_place(shown, 0, asked("a2"))
    put_in_place(shown, 0, first)
    assert texts(shown) == ["a", "b"]


def test_every_exchange_is_found_after_the_one_it_follows() -> None:
    shown = [asked("a"), asked("b"), asked("c")]
    put_in_place(shown, 1, asked("b2"))
    put_in_place(shown, 2, asked("c2"))
    put_in_place(shown, 0, asked("a2"))
    found = [(one.text, before and before.text) for one, before in every(shown)]
    assert sorted(found, key=str) == sorted(
        [("a", None), ("a2", None), ("b", "a"), ("b2", "a"), ("c", "b"), ("c2", "b2")], key=str
    )
    for place, (_, before) in enumerate(found):
        assert before is None or before in [text for text, _ in found[:place]]


def test_branches_as_deep_as_they_may_be_are_walked() -> None:
    shown = [asked("0")]
    for depth in range(3000):  # each the only one that follows a hidden one
        hidden = Exchange(str(depth), (), tail=shown)
        shown = [asked("other")]
        shown[0].versions = hidden.versions = [hidden, shown[0]]
    assert len(list(every(shown))) == 6001


def test_arrows_go_through_questions_and_through_answers_to_one_question() -> None:
    first = asked("a")
    shown = [first]
    again, other, other_again = asked("a"), asked("b"), asked("b")
    for version in (again, other, other_again):
        put_in_place(shown, 0, version)
    assert position(again, "question") == Position(1, 2)
    assert position(again, "answer") == position(other_again, "answer") == Position(2, 2)
    assert position(other, "question") == Position(2, 2)
    assert neighbour(first, "answer", 1) is again
    assert neighbour(first, "question", 1) is other_again
    assert neighbour(other, "question", -1) is again
    assert neighbour(first, "answer", -1) is None and neighbour(other, "question", 1) is None
    assert position(asked("alone"), "question") == Position(1, 1)
