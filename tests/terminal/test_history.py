"""How a conversation grows."""

import json
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.protocol.content_part import ImagePart, ImageUrl, VideoPart, VideoUrl
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.terminal.history import History, load_history, save_history

PICTURE = ImagePart(type="image_url", image_url=ImageUrl(url="data:image/png;base64,AA=="))


def _kinds(history: History, question: str) -> list[list[str]]:
    return [[part.type for part in said.parts()] for said in history.request_with(question)]


def test_images_stay_in_the_turn_they_were_given_in() -> None:
    history = History().with_media(PICTURE).with_answer("What?", "A circle.")
    assert _kinds(history, "Which color?") == [["image_url", "text"], ["text"], ["text"]]


def test_a_new_image_is_added_and_nothing_is_thrown_away() -> None:
    history = History().with_media(PICTURE).with_answer("What?", "A circle.").with_media(PICTURE)
    assert _kinds(history, "And here?") == [
        ["image_url", "text"],
        ["text"],
        ["image_url", "text"],
    ]


def test_several_images_go_with_one_question() -> None:
    history = History().with_media(PICTURE).with_media(PICTURE)
    assert _kinds(history, "What changed?") == [["image_url", "image_url", "text"]]


def test_the_system_prompt_comes_first() -> None:
    asked = History(system="Be brief.").with_answer("a", "b").request_with("c")
    assert [said.role for said in asked] == ["system", "user", "assistant", "user"]
    assert asked[0].content == "Be brief."


PICTURE = ImagePart(type="image_url", image_url=ImageUrl(url="data:image/png;base64,AA=="))
CLIP_URL = VideoUrl(url="data:video/mp4;base64,AA==", num_frames=4)
VIDEO = VideoPart(type="video_url", video_url=CLIP_URL)
HISTORY = (
    History(system="Be brief.")
    .with_media(PICTURE)
    .with_media(VIDEO)
    .with_answer("What is it?", "Ein Kreis, 圆.")
    .with_media(PICTURE)
)


def test_a_conversation_comes_back_as_it_was(tmp_path: Path) -> None:
    file = str(tmp_path / "chat.json")
    save_history(file, "llava-tiny", HISTORY)
    assert load_history(file) == ("llava-tiny", HISTORY)


def test_the_file_is_a_body_of_the_native_wire(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    save_history(str(file), "llava-tiny", HISTORY)
    body = json.loads(file.read_text())
    del body["attached"]
    assert parse_chat_request(body).model == "llava-tiny"


def test_an_editor_may_put_a_byte_order_mark_before_it(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    save_history(str(file), "llava-tiny", HISTORY)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_history(str(file)) == ("llava-tiny", HISTORY)


def test_a_saved_conversation_is_overwritten_and_nothing_else_is(tmp_path: Path) -> None:
    file = str(tmp_path / "chat.json")
    save_history(file, "llava-tiny", HISTORY)
    save_history(file, "llava-tiny", History())
    assert load_history(file)[1] == History()
    image_file = tmp_path / "picture.png"
    image_file.write_bytes(b"PNG")
    with pytest.raises(CommandError, match="exists already"):
        save_history(str(image_file), "llava-tiny", HISTORY)
    assert image_file.read_bytes() == b"PNG"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read"),
        ("", "no saved conversation"),
        ("[]", "no saved conversation"),
        ('{"model": "m"}', "messages: Field required"),
        ('{"model": "m", "messages": [{"role": "user", "content": "a"}]}', "in turn"),
        ('{"model": "m", "messages": [{"role": "robot", "content": "a"}]}', "messages.0.role"),
    ],
)
def test_another_file_is_refused_with_the_reason(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    file = tmp_path / "chat.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=reason):
        load_history(str(file))


@pytest.mark.parametrize("file", ["~nobody-of-this-name/a.json", "a" * 300, "a\0b"])
def test_a_path_that_cannot_be_is_an_error_like_any_other(file: str) -> None:
    with pytest.raises(CommandError, match="cannot write"):
        save_history(file, "m", HISTORY)
    with pytest.raises(CommandError, match="cannot read"):
        load_history(file)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot write .*nowhere"):
        save_history(str(tmp_path / "nowhere" / "chat.json"), "m", HISTORY)
