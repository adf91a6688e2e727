"""The `openai` package's own client gets along with a worker over real sockets."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from PIL import Image

from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker

ASKED: list[Any] = [{"role": "user", "content": "hello <image> there"}]


def image_message(text: str, kind: str = "PNG") -> list[Any]:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, kind)
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


@pytest.fixture
async def base_url(app: FastAPI) -> AsyncIterator[str]:
    async with served(app) as address:
        yield f"{address}/v1"


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


async def test_an_image_is_answered_with_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=image_message("look"))
    assert answer.choices[0].message.content == "[1 picture: 40x30] look"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.image_tokens == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_come_in_openais_form(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    answer: Any = await client.chat.completions.create(
        model="echo", messages=ASKED, logprobs=True, top_logprobs=2, stream=stream
    )
    chunks = [chunk async for chunk in answer] if stream else [answer]
    told = [
        (token.token, bytes(token.bytes), token.logprob)
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content
    ]
    assert told == [(word, word.encode(), 0.0) for word in ("hello ", "<image> ", "there")]


async def test_top_logprobs_alone_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="takes effect with logprobs: true only"):
        await client.chat.completions.create(model="echo", messages=ASKED, top_logprobs=2)


async def test_a_stream_comes_in_deltas_and_ends_with_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == "hello <image> there"
    assert len([text for text in texts if text]) == 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_synchronous_client_streams_too(base_url: str) -> None:
    def ask() -> str:
        with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            stream = client.chat.completions.create(model="echo", messages=ASKED, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == "hello <image> there"


async def test_models_are_listed_with_what_they_take(client: openai.AsyncOpenAI) -> None:
    (model,) = [model async for model in client.models.list()]
    assert model.id == "echo"
    assert model.model_dump()["accepts_images"] is True


async def test_fields_beyond_openais_travel_in_extra_body(client: openai.AsyncOpenAI) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in range(6)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    url = "data:image/gif;base64," + base64.b64encode(file.getvalue()).decode()
    video = {"type": "video_url", "video_url": {"url": url, "num_frames": 3}}
    messages: list[Any] = [{"role": "user", "content": [video, {"type": "text", "text": "hi"}]}]
    answer = await client.chat.completions.create(
        model="echo", messages=messages, extra_body={"top_k": 5, "repetition_penalty": 1.1}
    )
    assert answer.choices[0].message.content == "[3 frames: 8x8, 8x8, 8x8] hi"


async def test_an_answer_cut_by_its_limit_says_length(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=ASKED, max_tokens=1)
    assert answer.choices[0].finish_reason == "length"


async def test_a_stop_string_ends_the_answer_before_it(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=ASKED, stop=["there"])
    assert answer.choices[0].message.content == "hello <image> "


@pytest.mark.parametrize("stream", [False, True])
async def test_which_stop_string_ended_the_answer_is_told(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    async def told(stop: list[str]) -> list[Any]:
        answer: Any = await client.chat.completions.create(
            model="echo", messages=ASKED, stop=stop, stream=stream
        )
        chunks = [chunk async for chunk in answer] if stream else [answer]
        choices = [choice.model_dump() for chunk in chunks for choice in chunk.choices]
        return [choice["stop_reason"] for choice in choices if "stop_reason" in choice]

    assert await told(["never", "there"]) == ["there"]
    assert await told(["never"]) == []


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_arrive_as_the_clients_own_exceptions(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    async def ask(**fields: Any) -> None:
        body: Any = {"model": "echo", "messages": ASKED, "stream": stream} | fields
        await client.chat.completions.create(**body)

    with pytest.raises(openai.NotFoundError, match="'other' is not served here"):
        await ask(model="other")
    with pytest.raises(
        openai.BadRequestError, match=r"presence_penalty 2\.0 is not supported"
    ) as refusal:
        await ask(presence_penalty=2)
    assert (refusal.value.code, refusal.value.param) == ("unsupported_field", "presence_penalty")
    with pytest.raises(openai.BadRequestError, match="the context holds") as refusal:
        await ask(max_tokens=100_000)
    assert refusal.value.code == "context_length_exceeded"


async def test_a_full_worker_raises_the_clients_rate_limit_error(
    make_worker: Callable[..., ModelWorker],
) -> None:
    worker = make_worker(EchoEngine("echo"), limit=1, max_waiting=0)
    app = build_app(worker, max_body_bytes=1000)
    async with (
        served(app) as address,
        worker.gate.slots(1, partial(asyncio.sleep, 0)),
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.RateLimitError) as refusal:
            await client.chat.completions.create(model="echo", messages=ASKED)
    assert refusal.value.response.headers["retry-after"] == "1"


async def test_a_failure_in_mid_stream_raises_after_the_text_so_far(
    make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    worker = make_worker(scripted("so ", "far ", RuntimeError("the inside")))
    texts = []
    async with (
        served(build_app(worker, max_body_bytes=1000)) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client,
    ):
        stream = await client.chat.completions.create(model="scripted", messages=ASKED, stream=True)
        with pytest.raises(openai.APIError, match="an internal error") as failure:
            async for chunk in stream:
                texts.append(chunk.choices[0].delta.content)
    assert texts == ["", "so ", "far "]
    assert failure.value.code == "engine_failure"
