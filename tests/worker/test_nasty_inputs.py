"""Files that stacks of this kind choke on: each has one outcome through the whole app."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

RED = (255, 0, 0)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain_image(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def huge_header() -> bytes:
    def chunk(body: bytes) -> bytes:
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT") + chunk(b"IEND")


def truncated() -> bytes:
    return saved(Image.effect_noise((40, 20), 60), "PNG")[:200]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(plain_image(), "JPEG", exif=exif)


def animated(kind: str) -> bytes:
    return saved(plain_image(), kind, save_all=True, append_images=[Image.new("RGB", (40, 20))])


ACCEPTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "CMYK": (lambda: saved(plain_image("CMYK"), "JPEG"), "40x20"),
    "palette": (lambda: saved(plain_image("P"), "PNG"), "40x20"),
    "16-bit": (lambda: saved(Image.new("I;16", (40, 20), 999), "PNG"), "40x20"),
    "one bit": (lambda: saved(plain_image("1"), "PNG"), "40x20"),
    "transparent": (lambda: saved(plain_image("RGBA"), "WEBP"), "40x20"),
    "EXIF-rotated": (rotated, "20x40"),
    "animated GIF": (lambda: animated("GIF"), "40x20"),
    "animated WebP": (lambda: animated("WEBP"), "40x20"),
    "1 x 1": (lambda: saved(plain_image(size=(1, 1)), "PNG"), "1x1"),
}
REFUSED: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "truncated PNG": (
        lambda: saved(Image.effect_noise((40, 20), 60), "PNG")[:200],
        400,
        "cut short",
    ),
    "30,000 x 30,000": (huge_header, 413, "900000000 pixels"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", 400, "SVG"),
    "HTML named .png": (lambda: b"<!doctype html><p>404</p>", 400, "HTML"),
    "4000 x 1": (lambda: saved(plain_image(size=(4000, 1)), "PNG"), 413, "100 times"),
    "empty": (lambda: b"", 400, "0 bytes"),
    "25 MB": (lambda: bytes(25_000_000), 413, "at most 20 MB"),
}


def asked(url: str, stream: bool = False) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    return {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": parts}]}


def as_png(data: bytes) -> str:
    """Return a data: URI that calls anything a PNG."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize("name", ACCEPTED)
async def test_an_odd_image_is_seen(http: httpx.AsyncClient, name: str) -> None:
    make, size = ACCEPTED[name]
    answer = await http.post("/v1/chat/completions", json=asked(as_png(make())))
    assert answer.json()["choices"][0]["message"]["content"] == f"[1 picture: {size}] what?"


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bad_image_is_refused_with_its_reason(
    http: httpx.AsyncClient, name: str, stream: bool
) -> None:
    make, status, reason = REFUSED[name]
    answer = await http.post("/v1/chat/completions", json=asked(as_png(make()), stream))
    error = answer.json()["error"]
    assert answer.status_code == status
    assert reason in error["message"]
    assert error["message"].startswith("picture 1 of the request: ")
    assert error["remedy"]


@pytest.mark.parametrize("name", REFUSED)
async def test_the_old_wire_gives_the_same_reason(http: httpx.AsyncClient, name: str) -> None:
    make, _, reason = REFUSED[name]
    image = base64.b64encode(make()).decode()
    body = {"model": "echo", "prompt": "<image> what?", "images": [image]}
    answer = await http.post("/worker_generate_stream", json=body)
    assert reason in answer.text


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64,not base64!", "not valid base64"),
        ("data:image/png", "no comma"),
        ("file:///etc/passwd", "only data: URIs"),
        ("http://169.254.169.254/latest/meta-data", "does not fetch web addresses"),
        ("picture.png", "only data: URIs"),
    ],
)
async def test_a_bad_address_is_refused_with_its_reason(
    http: httpx.AsyncClient, url: str, reason: str
) -> None:
    answer = await http.post("/v1/chat/completions", json=asked(url))
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/worker_generate_stream"])
async def test_60_mb_of_body_are_refused(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(
        path, content=bytes(60_000_000), headers={"Content-Type": "application/json"}
    )
    assert "larger than 50 MB" in answer.text


async def test_nothing_is_left_running_by_what_was_refused(
    http: httpx.AsyncClient,
) -> None:
    for make, _, _ in REFUSED.values():
        await http.post("/v1/chat/completions", json=asked(as_png(make())))
    assert "llava_worker_running 0.0" in (await http.get("/metrics")).text
