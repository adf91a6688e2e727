"""A question is asked as users ask it, and its answer is kept with its times."""

import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response

from llava_serve.asked_server import AskedServer
from llava_serve.errors import MediaUnreadable, RemoteError
from llava_serve.evaluation.asking import Asker
from llava_serve.evaluation.image_changes import original
from llava_serve.evaluation.question import Medium, Question, Turn
from tests.evaluation.answering import (
    FIELDS,
    MODEL,
    Answering,
    events,
    refusal,
    repeat,
    write_image,
)


def asker(server: AskedServer, *, with_logprobs: bool = True) -> Asker:
    return Asker(server.client, FIELDS, original, with_logprobs=with_logprobs)


def text(words: str, **fields: Any) -> Question:
    return Question("1", (Turn("user", words),), **fields)


async def test_media_stand_before_the_text_with_their_files_bytes(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    turns = (
        Turn("system", "Be short."),
        Turn("user", "first", (Medium(path), Medium(b"\xff\xd8\xff"))),
        Turn("assistant", "said"),
        Turn("user", "second", (Medium(b"\0\0\0\0ftypisom", "video"),)),
    )
    answering = Answering()
    async with answering.opened() as server:
        await asker(server).ask(0, Question("1", turns))
    (body,) = answering.asked
    assert (body["model"], body["temperature"], body["max_tokens"]) == (MODEL, 0, 16)
    assert body["logprobs"] is True
    system, first, said, second = body["messages"]
    assert system == {"role": "system", "content": "Be short."}
    assert said == {"role": "assistant", "content": "said"}
    png, jpeg, words = first["content"]
    assert words == {"type": "text", "text": "first"}
    head, _, data = png["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/png;base64", path.read_bytes())
    assert jpeg["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert second["content"][0]["video_url"]["url"].startswith("data:video/mp4;base64,")


async def test_each_image_is_asked_for_in_the_detail_that_is_wanted(tmp_path: Path) -> None:
    media = (Medium(write_image(tmp_path / "a.png")), Medium(b"\0\0\0\0ftypisom", "video"))
    answering = Answering()
    async with answering.opened() as server:
        frugal = Asker(server.client, FIELDS, original, "low", with_logprobs=True)
        await frugal.ask(0, Question("1", (Turn("user", "what?", media),)))
    image, video, _ = answering.asked[0]["messages"][0]["content"]
    assert image["image_url"]["detail"] == "low"
    assert "detail" not in video["video_url"]


async def test_media_with_places_stand_between_pieces_of_the_text() -> None:
    media = (Medium(b"\x89PNG\r\n\x1a\n1"), Medium(b"\xff\xd8\xff"), Medium(b"\x89PNG\r\n\x1a\n2"))
    turn = Turn("user", "One: two: same?", media, places=(5, 5, 10))
    answering = Answering()
    async with answering.opened() as server:
        await asker(server).ask(0, Question("1", (turn,)))
    (message,) = answering.asked[0]["messages"]
    kinds = [part.get("text", part["type"]) for part in message["content"]]
    assert kinds == ["One: ", "image_url", "image_url", "two: ", "image_url", "same?"]


async def test_an_answer_is_kept_with_its_tokens_logprobs_and_times() -> None:
    async with Answering().opened() as server:
        record = await asker(server).ask(7, text("yes"))
    assert (record.index, record.text, record.finish_reason) == (7, "yes", "stop")
    assert (record.logprob, record.tokens, record.prompt_tokens) == (-0.5, 1, 3)
    assert record.first_token_s is not None
    assert record.total_s is not None
    assert 0 < record.first_token_s <= record.total_s


async def test_settings_of_a_question_replace_those_of_the_task() -> None:
    answering = Answering()
    async with answering.opened() as server:
        await asker(server).ask(0, text("a", settings={"max_tokens": 3, "stop": ["x"]}))
    assert answering.asked[0]["max_tokens"] == 3
    assert answering.asked[0]["stop"] == ["x"]


async def without_logprobs(body: dict[str, Any]) -> str | Response:
    if body.get("logprobs"):
        return Response('{"error": {"message": "logprobs is not supported"}}', 400)
    return events(await repeat(body), logprob=None)  # type: ignore[arg-type]


async def test_a_server_without_logprobs_is_asked_without_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answering = Answering(without_logprobs)
    async with answering.opened() as server:
        asking = asker(server)
        with caplog.at_level(logging.WARNING):
            records = [await asking.ask(index, text("a")) for index in range(3)]
    assert [record.logprob for record in records] == [None] * 3
    assert [body.get("logprobs") for body in answering.asked] == [True, None, None, None]
    assert caplog.text.count("tells no log-probabilities") == 1


async def test_a_server_that_passes_over_logprobs_has_none() -> None:
    async def behave(body: dict[str, Any]) -> Response:
        return events("a", logprob=None)

    async with Answering(behave).opened() as server:
        assert (await asker(server).ask(0, text("a"))).logprob is None


async def test_without_logprobs_none_are_asked_for() -> None:
    answering = Answering()
    async with answering.opened() as server:
        await asker(server, with_logprobs=False).ask(0, text("a"))
    assert "logprobs" not in answering.asked[0]


async def test_a_refusal_comes_with_its_code_and_how_long_to_wait() -> None:
    async def behave(body: dict[str, Any]) -> Response:
        return refusal(429, "rate_limit_exceeded", **{"Retry-After": "7"})

    async with Answering(behave).opened() as server:
        with pytest.raises(RemoteError) as refused:
            await asker(server).ask(0, text("a"))
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (
        "rate_limit_exceeded",
        "7",
    )


async def test_a_file_that_cannot_be_read_asks_nobody(tmp_path: Path) -> None:
    answering = Answering()
    turns = (Turn("user", "a", (Medium(tmp_path / "gone.png"),)),)
    async with answering.opened() as server:
        with pytest.raises(MediaUnreadable):
            await asker(server).ask(0, Question("1", turns))
    assert answering.asked == []
