"""What is no picture is counted as text, in any cut of the bytes and in time."""

import json

import pytest

from llava_serve.errors import TextTooLarge
from llava_serve.http.text_meter import TextMeter

CHAT, LLAVAS = "/v1/chat/completions", "/worker_generate_stream"
WITH_IMAGES = (LLAVAS, "/api/chat", "/api/generate")


def measure(body: bytes, limit_bytes: int, size: int, path: str = CHAT) -> None:
    """Feed a body in chunks of `size`."""
    meter = TextMeter(limit_bytes, path)
    for at in range(0, len(body), size):
        meter.feed(body[at : at + size])


def native(text: str, url: str) -> bytes:
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()


def llavas(prompt: str, *images: str) -> bytes:
    return json.dumps({"model": "m", "prompt": prompt, "images": images}).encode()


PICTURE = "data:image/png;base64," + "iVBORw0K/+==" * 1000


@pytest.mark.parametrize(
    "body",
    [
        native("short", PICTURE),
        native("short", PICTURE).replace(b"/", b"\\/"),  # as PHP writes it
        native("short", PICTURE).replace(b'"url": ', b'"url":\n\t'),
        native("short", " " + PICTURE),
        native("short", "\ufeff\n" + PICTURE),
        native("short", "\ufeff" + PICTURE).replace(b"\\ufeff", b"\xef\xbb\xbf"),
        native("short", PICTURE.replace("data:", "DATA:")),
        b"[" + native("short", PICTURE) + b"," + native("short", PICTURE) + b"]",
        json.dumps({"type": "input_image", "image_url": PICTURE}).encode(),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_pictures_do_not_count_as_text(body: bytes, size: int) -> None:
    measure(body, 1000, size)


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
@pytest.mark.parametrize("images", [(PICTURE, PICTURE[22:]), (PICTURE[22:],)])
def test_lists_of_images_are_pictures_where_the_wire_has_them(
    images: tuple[str, ...], size: int
) -> None:
    body = llavas("short", *images)
    for path in WITH_IMAGES:
        measure(body, 1000, size, path)
    for path in (CHAT, "/v1/messages", "/v1/responses", "/tokenize"):
        with pytest.raises(TextTooLarge):
            measure(body, 1000, size, path)


ANTHROPICS = {"type": "base64", "media_type": "image/png", "data": PICTURE[22:]}


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_base64_alone_is_a_picture_in_anthropics_protocol_only(size: int) -> None:
    body = json.dumps({"source": ANTHROPICS}).encode()
    measure(body, 1000, size, "/v1/messages")
    measure(body, 1000, size, "/v1/messages/count_tokens")
    with pytest.raises(TextTooLarge):
        measure(body, 1000, size)


LONG = "a" * 5000


@pytest.mark.parametrize(
    "body",
    [
        native(LONG, PICTURE),
        native('"url": "data:' + LONG, PICTURE),  # said, and so with backslashes
        native("data:" + LONG, PICTURE),
        b'"url": "data:"' + b" " * 5000,
        b"[" * 5000,
        b" " * 5000,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_all_else_does(body: bytes, size: int) -> None:
    with pytest.raises(TextTooLarge, match="besides its pictures"):
        measure(body, 1000, size)


@pytest.mark.parametrize(
    "body",
    [
        llavas(LONG, PICTURE),
        llavas('"images": [' + LONG + "]", PICTURE),  # said, and so with backslashes
        native("short", PICTURE),  # of another wire
        b'{"images": [' + b"1," * 5000 + b"1]}",
    ],
)
@pytest.mark.parametrize("path", WITH_IMAGES)
def test_all_else_does_beside_a_list_of_images(body: bytes, path: str) -> None:
    for size in (1, 7, 100, 10**6):
        with pytest.raises(TextTooLarge):
            measure(body, 1000, size, path)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_of_a_text_that_is_too_long_no_more_is_read(size: int) -> None:
    meter, fed = TextMeter(1000, CHAT), 0
    with pytest.raises(TextTooLarge):
        for at in range(0, 50_000, size):
            fed += size
            meter.feed(native(LONG * 10, PICTURE)[at : at + size])
    assert fed <= 1000 + size


def test_many_lists_without_an_end_take_no_longer_than_one() -> None:
    # Quadratic, it would take hours.
    measure(b'"images":[' * 4_000_000, 1000, 65_536, LLAVAS)
