"""What would kill a server is refused before it gets there."""

import asyncio
from dataclasses import replace

import pytest
from fastapi import FastAPI
from PIL import Image

from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.placeholders import TemplateCheck, check_prompt, check_texts
from llava_serve.errors import InvalidField, MediaCountMismatch
from llava_serve.http.serving import served
from llava_serve.media.decode import as_image
from llava_serve.request import Conversation, Message, ReadyPrompt
from tests.engines.sglang.conftest import Listening, Recorded
from tests.engines.sglang.test_payload import SERVED

PICTURE = as_image(Image.new("RGB", (2, 2)))


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="prompt"):
        check_prompt(ReadyPrompt(text))


@pytest.mark.parametrize(("placeholders", "images"), [(0, 1), (1, 0), (1, 2), (2, 1)])
def test_placeholders_must_be_as_many_as_pictures(placeholders: int, images: int) -> None:
    with pytest.raises(MediaCountMismatch):
        check_prompt(ReadyPrompt("hi" + "<image>" * placeholders, (PICTURE,) * images))


@pytest.mark.parametrize("mark", ["<image>", "<video>"])
def test_text_that_the_server_takes_for_a_picture_is_refused_by_name(mark: str) -> None:
    with pytest.raises(InvalidField, match=mark):
        check_texts(Conversation((Message("user", ("hi", f"a {mark} b")),)))


def test_halves_of_a_mark_that_a_template_would_join_are_refused() -> None:
    parts = ("<ima", PICTURE, "ge>")
    with pytest.raises(InvalidField, match="<image>"):
        check_texts(Conversation((Message("user", parts),)))


def test_a_place_for_a_video_is_refused() -> None:
    with pytest.raises(InvalidField, match="<video>"):
        check_prompt(ReadyPrompt("<video> What is it?"))


async def test_the_template_is_asked_once_for_each_form_and_never_told_the_text(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint:
        client = SglangClient(endpoint)
        async with client.opened():
            check, served = TemplateCheck(client), replace(SERVED, address=endpoint)
            for text in ("secret", "other"):
                said = Conversation((Message("user", (PICTURE, text)),))
                await check.check(said, served)
    (asked,) = recorded.tokenized
    assert "secret" not in str(asked)


async def test_a_picture_that_the_template_loses_is_refused(
    recorded: Recorded, listening: Listening
) -> None:
    lost = Conversation((Message("user", ("hi",)), Message("assistant", (PICTURE,))))
    async with listening(recorded) as endpoint:
        client = SglangClient(endpoint)
        async with client.opened():
            with pytest.raises(InvalidField, match="0 of the 1 pictures"):
                await TemplateCheck(client).check(lost, replace(SERVED, address=endpoint))


async def test_what_a_former_server_answers_late_says_nothing_about_the_next_one(
    recorded: Recorded, listening: Listening
) -> None:
    was_asked, may_answer = asyncio.Event(), asyncio.Event()
    former_app = FastAPI()

    @former_app.post("/v1/tokenize")
    async def tokenize() -> dict[str, list[int]]:
        was_asked.set()
        await may_answer.wait()
        return {"tokens": []}  # its template loses images

    shown = Conversation((Message("user", (PICTURE, "hi")),))
    async with served(former_app) as former_address, listening(recorded) as address:
        client = SglangClient(address)
        former, next_one = (replace(SERVED, address=each) for each in (former_address, address))
        async with client.opened():
            check = TemplateCheck(client)
            late = asyncio.create_task(check.check(shown, former))
            await was_asked.wait()
            other = Conversation((Message("user", ("hi", PICTURE)),))
            await check.check(other, next_one)
            may_answer.set()
            with pytest.raises(InvalidField):
                await late
            await check.check(shown, next_one)
