"""How a conversation grows."""

from llava_serve.protocol.openai import ImagePart, ImageUrl
from llava_serve.terminal.history import History

PICTURE = ImagePart(type="image_url", image_url=ImageUrl(url="data:image/png;base64,AA=="))


def _kinds(history: History, question: str) -> list[list[str]]:
    return [[part.type for part in said.parts()] for said in history.asking(question)]


def test_pictures_stay_in_the_turn_they_were_given_in() -> None:
    history = History().with_media(PICTURE).answered("What?", "A circle.")
    assert _kinds(history, "Which color?") == [["image_url", "text"], ["text"], ["text"]]


def test_a_new_picture_is_added_and_nothing_is_thrown_away() -> None:
    history = History().with_media(PICTURE).answered("What?", "A circle.").with_media(PICTURE)
    assert _kinds(history, "And here?") == [
        ["image_url", "text"],
        ["text"],
        ["image_url", "text"],
    ]


def test_several_pictures_go_with_one_question() -> None:
    history = History().with_media(PICTURE).with_media(PICTURE)
    assert _kinds(history, "What changed?") == [["image_url", "image_url", "text"]]


def test_the_system_prompt_comes_first() -> None:
    asked = History(system="Be brief.").answered("a", "b").asking("c")
    assert [said.role for said in asked] == ["system", "user", "assistant", "user"]
    assert asked[0].content == "Be brief."
