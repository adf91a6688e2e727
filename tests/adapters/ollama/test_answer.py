"""Answers of Ollama's protocol as its own client reads them, whole and line by line."""

import asyncio
import json
from typing import Any

import httpx
import ollama
import pytest
from PIL import Image

from llava_serve.engines.echo import EchoEngine
from llava_serve.request import Delta, Stages, Usage
from tests.adapters.conftest import Stack, png_of, stack_of
from tests.adapters.ollama.conftest import asked, client_of
from tests.until import until
from tests.worker.conftest import ScriptedEngine

RED = png_of(Image.new("RGB", (40, 30), "red"))


def ending(answer: Any) -> dict[str, Any]:
    """Return what does not differ from one answer to the next."""
    return dict(answer.model_dump(exclude={"created_at", "total_duration", "message", "response"}))


async def test_an_image_is_answered_with_counts(client: ollama.AsyncClient) -> None:
    messages = [{"role": "user", "content": "look", "images": [RED]}]
    answer = await client.chat(**asked(messages=messages))
    assert answer.message.content == "[1 picture: 40x30] look"
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (2, 4)
    assert answer.total_duration is not None
    assert 0 < answer.total_duration < 60_000_000_000
    assert answer.created_at is not None
    assert answer.created_at.endswith("Z")


async def test_a_prompt_is_answered_as_a_message_is(client: ollama.AsyncClient) -> None:
    answer = await client.generate("echo", "look", system="Be brief.", images=[RED])
    assert answer.response == "[1 picture: 40x30] look"
    assert answer.prompt_eval_count == 4


async def test_lines_joined_are_the_whole_answer(client: ollama.AsyncClient) -> None:
    for options in ({}, {"num_predict": 2}, {"stop": ["there"]}):
        whole = await client.chat(**asked(options=options))
        lines = [line async for line in await client.chat(**asked(options=options), stream=True)]
        assert "".join(line.message.content or "" for line in lines) == whole.message.content
        assert ending(lines[-1]) == ending(whole)
        assert lines[-1].message.content == ""
        assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
        wholly = await client.generate("echo", "hello <image> there", options=options)
        stream = await client.generate("echo", "hello <image> there", options=options, stream=True)
        pieces = [line async for line in stream]
        assert "".join(line.response or "" for line in pieces) == wholly.response
        assert ending(pieces[-1]) == ending(wholly)


async def test_an_answer_says_why_it_ended(client: ollama.AsyncClient) -> None:
    cut = await client.chat(**asked(options={"num_predict": 1}))
    assert (cut.message.content, cut.done_reason) == ("hello ", "length")
    stopped = await client.chat(**asked(options={"stop": ["there"]}))
    assert (stopped.message.content, stopped.done_reason) == ("hello <image> ", "stop")


async def test_an_answer_is_streamed_where_nothing_is_said_of_it(address: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{address}/api/chat", json=asked())
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "content-length" not in answer.headers
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 4
    assert all(ollama.ChatResponse(**line).model == "echo" for line in lines)


async def test_what_an_engine_measured_is_told_in_nanoseconds() -> None:
    stages = Stages(queue_s=0.1, vision_s=0.25, prefill_s=0.5, decode_s=2.0)
    end = Delta("", "stop", Usage(9, completion_tokens=11), stages)
    scripted = ScriptedEngine("so", end)
    async with stack_of(scripted) as stack, client_of(stack.controller) as client:
        whole = await client.chat(**asked(model="scripted"))
        *_, last = [
            line async for line in await client.chat(**asked(model="scripted"), stream=True)
        ]
    for answer in (whole, last):
        assert (answer.prompt_eval_count, answer.prompt_eval_duration) == (9, 750_000_000)
        assert (answer.eval_count, answer.eval_duration) == (11, 2_000_000_000)
        assert answer.load_duration == 0


async def test_log_probabilities_are_told(client: ollama.AsyncClient) -> None:
    whole = await client.chat(**asked(logprobs=True, top_logprobs=1))
    assert whole.logprobs is not None
    assert [token.token for token in whole.logprobs] == ["hello ", "<image> ", "there"]
    stream = await client.chat(**asked(logprobs=True), stream=True)
    told = [token.token async for line in stream for token in line.logprobs or ()]
    assert told == ["hello ", "<image> ", "there"]


async def test_a_failure_in_mid_stream_is_a_line_of_its_own() -> None:
    texts = []
    engine = ScriptedEngine("so ", "far ", RuntimeError("the inside"))
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        with pytest.raises(ollama.ResponseError, match="Look into the log"):
            async for line in await client.chat(**asked(model="scripted"), stream=True):
                texts.append(line.message.content)
    assert texts == ["so ", "far "]


async def test_silence_is_filled_with_what_a_reader_of_lines_skips() -> None:
    held = asyncio.Event()
    async with (
        stack_of(ScriptedEngine(held, "there"), keep_alive_s=0.05) as stack,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("POST", f"{stack.controller}/api/chat", json=asked(model="scripted")) as answer,
    ):
        text = answer.aiter_text()
        first = await anext(text)
        assert set(first) == {" "}
        held.set()
        lines = (first + "".join([rest async for rest in text])).splitlines()
    assert json.loads(lines[0])["message"]["content"] == "there"


async def test_who_leaves_is_answered_no_more(
    echo: EchoEngine, client: ollama.AsyncClient, stack: Stack
) -> None:
    echo._delay_s = 0.05
    messages = [{"role": "user", "content": "word " * 1000}]
    stream: Any = await client.chat(**asked(messages=messages), stream=True)
    assert (await anext(stream)).message.content
    assert echo.running == 1
    await stream.aclose()
    await until(lambda: echo.running == stack.gate.load.queue_length == 0, "the worker at rest")
