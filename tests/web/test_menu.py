"""The model menus follow what is served, and never switch anybody in silence."""

from llava_serve.protocol.model_card import ModelCard
from llava_serve.web import menu
from llava_serve.web.chat_state import ChatState
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.sessions import Known, Place


def at(*wanted: str, has_chosen: bool = False) -> Place:
    return Place(ChatState(wanted=wanted, has_chosen=has_chosen), Known())


def serving(*names: str) -> ControllerLink:
    link = ControllerLink(["http://controller"])
    link.cards = tuple(
        ModelCard(
            id=name, context_length=10, accepts_images=True, accepts_video=True, engine="echo"
        )
        for name in names
    )
    return link


def test_the_first_model_is_chosen_when_it_comes() -> None:
    place = at()
    assert menu.refresh(place, serving(), 1)["models"]["value"] is None
    assert menu.refresh(place, serving("a", "b"), 1)["models"]["value"] == "a"


def test_what_the_browser_has_is_not_sent_again() -> None:
    place, link = at(), serving("a")
    menu.refresh(place, link, 1)
    assert menu.refresh(place, link, 1)["models"] == {"__type__": "update"}


def test_another_model_stands_in_for_one_that_goes_and_it_is_said() -> None:
    place = at("a")
    gone = menu.refresh(place, serving("b", "c"), 1)
    assert gone["models"]["value"] == "b"
    assert "a is not served at the moment; b answers instead" in gone["status"]
    back = menu.refresh(place, serving("a", "b"), 1)
    assert back["models"]["value"] == "a" and "2 models are served" in back["status"]


def test_a_comparison_is_filled_up_to_two() -> None:
    place = at("a", "b", "c", has_chosen=True)
    two = menu.refresh(place, serving("a", "b", "d"), 2)
    assert two["models"]["value"] == ["a", "b"]
    assert "c is not served" in two["status"] and "instead" not in two["status"]
    one = menu.refresh(place, serving("a", "d"), 2)
    assert one["models"]["value"] == ["a", "d"]
    assert "b and c are not served at the moment; d answers instead" in one["status"]


def test_who_chose_nothing_gets_nothing_in_its_place() -> None:
    place = at(has_chosen=True)
    assert menu.refresh(place, serving("a", "b"), 2)["models"]["value"] == []


def test_a_comparison_begins_with_the_first_two() -> None:
    place = at()
    assert menu.refresh(place, serving("a"), 2)["models"]["value"] == ["a"]
    assert menu.refresh(place, serving("a", "b", "c"), 2)["models"]["value"] == ["a", "b"]


def test_what_the_user_has_removed_stays_removed() -> None:
    place, link = at(), serving("a", "b", "c")
    menu.refresh(place, link, 2)
    place.conversation.wanted, place.conversation.has_chosen = ("b",), True
    assert menu.refresh(place, link, 2)["models"]["value"] == ["b"]
