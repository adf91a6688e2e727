"""Bodies: refused before they are read, late ones ended, text counted apart from pictures."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from llava_serve.errors import TextTooLarge
from llava_serve.http import serving
from llava_serve.http.body import BodyLimits, TextMeter, read_json, read_once, release_body

CHAT = "/v1/chat/completions"


def build(limits: BodyLimits) -> FastAPI:
    app = FastAPI()
    serving.prepare(app, limits)

    @app.post(CHAT)
    async def chat(request: Request) -> int:
        return len((await read_json(request))[1])

    @app.post("/holds")
    async def holds(request: Request) -> int:
        _, body = await read_json(request)
        release_body(request)
        return len(body)

    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


async def test_a_declared_length_beyond_the_limit_is_refused_before_a_byte_is_read() -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"a"

    async with client(build(BodyLimits(1000, 1000))) as http:
        headers = {"Content-Length": "1001"}
        answer = await http.post(CHAT, content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert not read


@pytest.mark.parametrize("length", ["9" * 18, "9" * 5000])
async def test_an_absurd_length_is_refused(length: str) -> None:
    async with client(build(BodyLimits(1000, 1000))) as http:
        answer = await http.post(CHAT, content=b"{}", headers={"Content-Length": length})
    assert answer.status_code == 413


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"a" * 100

    async with client(build(BodyLimits(1000, 1000))) as http:
        answer = await http.post(CHAT, content=body())
    assert answer.json()["error"]["code"] == "body_too_large"


class Circle:
    """Holds a body, and itself."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.itself = self


@pytest.mark.parametrize(("size_bytes", "goes"), [(1_500_000, True), (1_000, False)])
async def test_a_large_body_in_a_circle_goes_with_its_request(size_bytes: int, goes: bool) -> None:
    app = build(BodyLimits(10_000_000))
    left: list[weakref.ref[Circle]] = []

    @app.post("/v1/inspect")
    async def keep(request: Request) -> None:
        left.append(weakref.ref(Circle(await request.body())))

    gc.disable()
    try:
        async with client(app) as http:
            await http.post("/v1/inspect", content=b"a" * size_bytes)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (left[0]() is None) == goes
    finally:
        gc.enable()


async def post_slowly(limits: BodyLimits, *chunks: bytes, declared: int) -> bytes:
    """Send chunks of a body one after the other, and then nothing; return the answer's head."""
    async with serving.served(build(limits)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[2]))
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Length: {declared}\r\n".encode())
        writer.write(b"\r\n")
        answered = asyncio.create_task(reader.readuntil(b"}}"))
        for chunk in chunks:
            writer.write(chunk)
            await asyncio.wait([answered], timeout=0.02)
        try:
            return await asyncio.wait_for(answered, 10)
        finally:
            writer.close()


async def test_half_a_body_is_answered_with_408_after_its_time() -> None:
    answer = await post_slowly(BodyLimits(1000, gap_s=0.05), b"{", declared=10)
    assert b" 408 " in answer.splitlines()[0]
    assert b"body_timeout" in answer


async def test_a_body_that_trickles_is_answered_with_408_too() -> None:
    limits = BodyLimits(1000, gap_s=5, patience_s=0.1, least_bytes_per_s=1e6)
    answer = await post_slowly(limits, *[b" "] * 500, declared=600)
    assert b"body_timeout" in answer


async def test_a_large_body_that_trickles_is_late_as_soon_as_a_small_one() -> None:
    limits = BodyLimits(50_000_000, gap_s=5, patience_s=0.1)
    answer = await post_slowly(limits, *[b" "] * 500, declared=49_000_000)
    assert b"body_timeout" in answer


async def test_a_body_without_a_length_holds_what_it_has_once_it_is_there() -> None:
    limits = BodyLimits(4_000_000, 4_000_000)
    app = build(limits)
    held = []

    @app.post("/look" + CHAT)
    async def look(request: Request) -> None:
        await read_json(request)
        held.append((limits.held.held, limits.quota_of("127.0.0.1").held))

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async with client(app) as http:
        assert (await http.post("/look" + CHAT, content=body())).status_code == 200
    assert held == [(2, 2)]


async def test_who_waits_too_long_for_memory_is_told_to_come_back() -> None:
    limits = BodyLimits(4_000_000, 4_000_000, wait_s=0.05)
    await limits.held.acquire(limits.held.total)
    async with client(build(limits)) as http:
        answer = await http.post(CHAT, content=json.dumps("a" * 2_000_000).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_room_for_body")
    assert answer.headers["retry-after"]
    assert limits.quota_of("127.0.0.1").held == 0


async def test_one_address_never_takes_all_the_memory() -> None:
    limits = BodyLimits(4_000_000, 4_000_000, wait_s=0.05)
    own = limits.quota_of("127.0.0.1")
    assert own.total < limits.held.total
    await own.acquire(own.total)
    content = json.dumps("a" * 2_000_000).encode()
    async with client(build(limits)) as http:
        assert (await http.post(CHAT, content=content)).status_code == 503
    transport = httpx.ASGITransport(build(limits), client=("10.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        assert (await http.post(CHAT, content=content)).status_code == 200


async def test_large_bodies_wait_for_their_part_of_the_memory() -> None:
    limits = BodyLimits(4_000_000, 4_000_000)
    await limits.held.acquire(limits.held.total)
    content = json.dumps("a" * 2_000_000).encode()
    async with client(build(limits)) as http:
        large = asyncio.create_task(http.post(CHAT, content=content))
        small = await http.post(CHAT, content=b"{}")
        assert small.status_code == 200  # a small one does not wait
        assert not large.done()
        limits.held.release(limits.held.total)
        assert (await large).status_code == 200
    assert limits.held.held == 0


async def test_a_place_comes_back_as_soon_as_the_body_is_not_held_any_more() -> None:
    limits = BodyLimits(4_000_000, 4_000_000)
    async with client(build(limits)) as http:
        await http.post("/holds", content=json.dumps("a" * 2_000_000).encode())
    assert limits.held.held == 0


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
        llavas("short", PICTURE, PICTURE[22:]),
        llavas("short", PICTURE[22:]),
        b"[" + native("short", PICTURE) + b"," + native("short", PICTURE) + b"]",
        json.dumps({"type": "input_image", "image_url": PICTURE}).encode(),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_pictures_do_not_count_as_text(body: bytes, size: int) -> None:
    measure(body, 1000, size)


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
        llavas(LONG, PICTURE),
        native('"url": "data:' + LONG, PICTURE),  # said, and so with backslashes
        native('"images": [' + LONG + "]", PICTURE),
        native("data:" + LONG, PICTURE),
        b'{"images": [' + b"1," * 5000 + b"1]}",
        b'"url": "data:"' + b" " * 5000,
        b"[" * 5000,
        b" " * 5000,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_all_else_does(body: bytes, size: int) -> None:
    with pytest.raises(TextTooLarge, match="besides its pictures"):
        measure(body, 1000, size)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_of_a_text_that_is_too_long_no_more_is_read(size: int) -> None:
    meter, fed = TextMeter(1000), 0
    with pytest.raises(TextTooLarge):
        for at in range(0, 50_000, size):
            fed += size
            meter.feed(native(LONG * 10, PICTURE)[at : at + size])
    assert fed <= 1000 + size


def test_many_lists_without_an_end_take_no_longer_than_one() -> None:
    # Quadratic, it would take hours.
    measure(b'"images":[' * 4_000_000, 1000, 65_536)


async def test_what_is_made_of_a_body_once_lets_the_next_one_in() -> None:
    limits = BodyLimits(4_000_000, 4_000_000)
    app = build(limits)
    held = []

    @app.post("/once/v1/chat/completions")
    async def once(request: Request) -> int:
        _, body = await read_json(request)

        async def read() -> int:
            held.append(limits.held.held)
            return len(body)

        length = await read_once(request, read)()
        held.append(limits.held.held)
        return length

    async with client(app) as http:
        content = json.dumps("a" * 2_000_000).encode()
        await http.post("/once/v1/chat/completions", content=content)
    assert held == [len(content), 0]
