"""Messages of an lmms-eval task become turns with the same pixels, in the same places."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.errors import CommandError
from llava_serve.evaluation.lmms_eval.messages import turns_of
from llava_serve.evaluation.question import Medium, Turn

ASKED = "document 3 of the lmms-eval task 'drawn'"
RED = Image.new("RGB", (3, 2), "red")


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def shown(url: Any, kind: str = "image", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "url": url, **fields}


def user(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def pixels(medium: Medium) -> Image.Image:
    assert isinstance(medium.source, bytes)
    return Image.open(io.BytesIO(medium.source))


def test_an_image_before_the_text_needs_no_place() -> None:
    (turn,) = turns_of(user(shown(RED), said("What is this?")), ASKED)
    assert (turn.role, turn.text, turn.places) == ("user", "What is this?", ())
    (medium,) = turn.media
    assert pixels(medium).tobytes() == RED.tobytes()


def test_images_between_pieces_of_text_keep_their_places() -> None:
    (turn,) = turns_of(user(said("One: "), shown(RED), said(" two: "), shown(RED)), ASKED)
    assert (turn.text, turn.places, len(turn.media)) == ("One:  two: ", (5, 11), 2)


def test_roles_and_texts_stay() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [said("Hi"), said("!")]},
        {"role": "assistant", "content": [said("Hello")]},
    ]
    assert turns_of(messages, ASKED) == (
        Turn("system", "Be short."),
        Turn("user", "Hi!"),
        Turn("assistant", "Hello"),
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_of_an_image_can_be_sent(mode: str) -> None:
    (turn,) = turns_of(user(shown(Image.new(mode, (3, 2)))), ASKED)
    assert pixels(turn.media[0]).size == (3, 2)


def test_an_image_is_written_when_it_is_read_and_then_kept() -> None:
    (turn,) = turns_of(user(shown(RED)), ASKED)
    (medium,) = turn.media
    assert (medium.kind, isinstance(medium, Medium)) == ("image", True)
    assert medium.source is medium.source


def test_files_are_read_where_they_lie() -> None:
    content = user(shown("/data/a.png"), shown("/data/b.mp4", "video"), said("Which?"))
    (turn,) = turns_of(content, ASKED)
    assert turn.media == (Medium(Path("/data/a.png")), Medium(Path("/data/b.mp4"), "video"))


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (shown({"array": [0.0]}, "audio"), "has audio"),
        (shown("/data/b.mp4", "video", start_time=1.0), "is about a part of a video"),
        (shown({"url": "b.mp4", "video_start": 1.0}, "video"), "has a video that is no file"),
        (shown("https://example.com/b.mp4", "video"), "has a video that is no file: 'https:"),
        (shown("http://example.com/a.png"), "has an image that is no file"),
    ],
)
def test_what_cannot_be_shown_is_told_with_its_document(part: dict[str, Any], reason: str) -> None:
    with pytest.raises(CommandError) as caught:
        turns_of(user(part, said("What?")), ASKED)
    assert caught.value.message.startswith(f"{ASKED} {reason}")
    assert caught.value.remedy
