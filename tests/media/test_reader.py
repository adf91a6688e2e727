"""Messages become a conversation with decoded media, under the limits of one request."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest
from fastapi import FastAPI
from fastapi.responses import Response

from llava_serve.config import MediaConfig
from llava_serve.errors import InvalidField, MediaTooLarge, MediaUnreadable, RemoteMediaRefused
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Conversation, Image, Video


def png(size: tuple[int, int] = (8, 8), colour: str = "red") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def gif(frames: int) -> bytes:
    file = io.BytesIO()
    first, *rest = [PIL.Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(frames)]
    first.save(file, "GIF", save_all=True, append_images=rest)
    return file.getvalue()


def uri(data: bytes) -> str:
    return "data:;base64," + base64.b64encode(data).decode()


def picture_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def user(*parts: dict[str, Any]) -> ChatMessage:
    return ChatMessage.model_validate({"role": "user", "content": list(parts)})


async def read(reader: MediaReader, messages: Sequence[ChatMessage]) -> Conversation:
    async with reader.reservation() as reservation:
        return await reader.conversation(messages, reservation)


async def test_a_picture_of_low_detail_is_coarse(reader: MediaReader) -> None:
    parts = [picture_part(uri(png())), picture_part(uri(png()))]
    parts[0]["image_url"]["detail"] = "low"
    conversation = await read(reader, [user(*parts)])
    assert [image.is_coarse for image in conversation.messages[0].images] == [True, False]


CONFIG = MediaConfig(max_images=3, num_frames=2, max_frames=4)


@pytest.fixture
async def reader() -> AsyncIterator[MediaReader]:
    async with MediaReader(CONFIG) as reader:
        yield reader


async def test_parts_keep_their_order_and_become_pictures_and_clips(reader: MediaReader) -> None:
    messages = [
        ChatMessage(role="developer", content="be brief"),
        user(
            picture_part(uri(png())),
            {"type": "text", "text": "what is <image> here"},
            {"type": "video_url", "video_url": {"url": uri(gif(5))}},
        ),
        ChatMessage(role="assistant", content="nothing"),
    ]
    system, asked, answered = (await read(reader, messages)).messages
    assert [system.role, asked.role, answered.role] == ["system", "user", "assistant"]
    assert system.parts == ("be brief",)
    picture, text, clip = asked.parts
    assert isinstance(picture, Image)
    assert text == "what is <image> here"
    assert isinstance(clip, Video)
    assert len(clip.frames) == CONFIG.num_frames


async def test_a_request_chooses_its_number_of_frames(reader: MediaReader) -> None:
    video = {"type": "video_url", "video_url": {"url": uri(gif(9)), "num_frames": 4}}
    (message,) = (await read(reader, [user(video)])).messages
    assert len(message.videos[0].frames) == 4


async def test_more_frames_than_allowed_are_refused_with_the_limit(reader: MediaReader) -> None:
    video = {"type": "video_url", "video_url": {"url": uri(gif(9)), "num_frames": 5}}
    with pytest.raises(InvalidField, match="at most 4"):
        await read(reader, [user(video)])


async def test_too_many_pictures_are_refused_before_any_is_read(reader: MediaReader) -> None:
    with pytest.raises(InvalidField, match="4 pictures and videos; at most 3"):
        await read(reader, [user(*[picture_part("data:no picture")] * 4)])


async def test_an_error_says_which_picture_it_is_about(reader: MediaReader) -> None:
    with pytest.raises(MediaUnreadable, match="picture 2 of the request: "):
        await read(reader, [user(picture_part(uri(png()))), user(picture_part(uri(b"<svg/>")))])


async def test_pictures_that_fill_the_memory_together_are_refused() -> None:
    megapixel = picture_part(uri(png((1000, 1000))))
    config = replace(CONFIG, max_image_megapixels=1, max_megapixels_in_flight=2.5)
    async with MediaReader(config) as reader:
        await read(reader, [user(megapixel, megapixel)])
        with pytest.raises(MediaTooLarge, match=r"picture 3 .* 3 megapixels in all; at most 2\.5"):
            await read(reader, [user(megapixel, megapixel, megapixel)])


@pytest.mark.parametrize("before", [" ", "\n", "\ufeff"])
async def test_an_address_may_have_white_space_around_it(reader: MediaReader, before: str) -> None:
    assert (await reader.image(f"{before}{uri(png())}\n")).image.size == (8, 8)
    for image in (before + uri(png()), before + base64.b64encode(png()).decode()):
        async with reader.reservation() as reservation:
            (picture,) = (await reader.ready_prompt("<image>", [image], reservation)).images
        assert picture.image.size == (8, 8)


@pytest.mark.parametrize("image", [base64.b64encode(png()).decode(), uri(png())])
async def test_a_ready_prompt_takes_base64_and_data_uris(reader: MediaReader, image: str) -> None:
    async with reader.reservation() as reservation:
        prompt = await reader.ready_prompt("<image> and <image>", [image, image], reservation)
    assert prompt.text == "<image> and <image>"
    assert [picture.image.size for picture in prompt.images] == [(8, 8), (8, 8)]


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "/etc/hostname", "ftp://host/x.png", "", "x.png"]
)
async def test_nothing_but_data_and_web_addresses_is_read(reader: MediaReader, url: str) -> None:
    with pytest.raises(RemoteMediaRefused, match="only data: URIs"):
        await reader.image(url)


def site() -> FastAPI:
    app = FastAPI()

    @app.get("/picture.html")
    async def picture() -> Response:
        return Response(png((12, 6)), media_type="text/html")

    @app.get("/picture.png")
    async def page() -> Response:
        return Response("<html>no picture</html>", media_type="image/png")

    return app


async def test_a_web_address_is_fetched_only_when_allowed(reader: MediaReader) -> None:
    allowing = MediaReader(replace(CONFIG, allow_remote_media=True), is_allowed=lambda _: True)
    async with served(site()) as address, allowing:
        with pytest.raises(RemoteMediaRefused, match="does not fetch"):
            await reader.image(f"{address}/picture.html")
        assert (await allowing.image(f"{address}/picture.html")).image.size == (12, 6)
        with pytest.raises(MediaUnreadable, match="seems to be HTML"):
            await allowing.image(f"{address}/picture.png")


async def test_this_machine_is_refused_even_when_fetching_is_allowed() -> None:
    allowing = MediaReader(replace(CONFIG, allow_remote_media=True))
    async with served(site()) as address, allowing:
        with pytest.raises(RemoteMediaRefused, match="public internet"):
            await allowing.image(f"{address}/picture.html")


async def test_text_alone_needs_no_reading(reader: MediaReader) -> None:
    said = ChatMessage(role="user", content="hello")
    assert isinstance(await read(reader, [said]), Conversation)


async def test_files_from_the_web_are_in_memory_in_a_bounded_number() -> None:
    """A request in line has its files fetched before it has a slot, so slots do not bound them."""
    app, asked, full, enough = FastAPI(), 0, asyncio.Event(), asyncio.Event()

    @app.get("/picture")
    async def picture() -> Response:
        nonlocal asked
        asked += 1
        if asked == 16:
            full.set()
        await enough.wait()
        return Response(png(), media_type="image/png")

    config = replace(CONFIG, allow_remote_media=True)
    async with served(app) as site, MediaReader(config, is_allowed=lambda _: True) as reader:
        message = user(picture_part(f"{site}/picture"))
        reading = [asyncio.create_task(read(reader, [message])) for _ in range(20)]
        await full.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked == 16
        enough.set()
        await asyncio.gather(*reading)
    assert asked == 20
