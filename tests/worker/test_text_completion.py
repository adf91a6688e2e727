"""Text completions of a worker: OpenAI's older shape, in one body or in chunks."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from llava_serve.errors import OutOfMemory
from llava_serve.http.serving import served
from llava_serve.protocol import sse
from llava_serve.request import Delta, ReadyPrompt, TokenLogprob, Usage
from llava_serve.worker.app import build_app

COMPLETIONS = "/v1/completions"
ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]
END = Delta("", "length", Usage(prompt_tokens=3, completion_tokens=2))


def asking(prompt: str = "once upon a time", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "prompt": prompt} | fields


def events(answer: httpx.Response) -> list[Any]:
    *data, last = sse.EventDecoder().feed(answer.content)
    assert last == sse.DONE
    return [json.loads(event) for event in data]


async def test_an_answer_comes_whole(http: httpx.AsyncClient) -> None:
    answer = (await http.post(COMPLETIONS, json=asking())).json()
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["choices"] == [
        {"index": 0, "text": "once upon a time", "logprobs": None, "finish_reason": "stop"}
    ]
    assert answer["usage"]["total_tokens"] == 8


async def test_without_a_limit_an_answer_has_sixteen_tokens(http: httpx.AsyncClient) -> None:
    answer = (await http.post(COMPLETIONS, json=asking("word " * 30))).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 16


async def test_a_stream_has_the_text_and_then_the_reason(http: httpx.AsyncClient) -> None:
    options = {"include_usage": True}
    answer = await http.post(
        COMPLETIONS, json=asking("one two", stream=True, stream_options=options)
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(answer)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [(one["text"], one["finish_reason"]) for one in choices] == [
        ("one ", None),
        ("two", None),
        ("", "stop"),
    ]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_echo_puts_the_prompt_before_each_answer_once(
    http: httpx.AsyncClient, stream: bool
) -> None:
    asked = asking("one two", echo=True, n=2, stream=stream)
    answer = await http.post(COMPLETIONS, json=asked)
    texts = ["", ""]
    for body in events(answer) if stream else [answer.json()]:
        for choice in body["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == ["one twoone two"] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_several_prompts_are_answered_one_after_the_other(
    http: httpx.AsyncClient, stream: bool
) -> None:
    prompts = ["one", "two three", "four"]
    options = {"stream_options": {"include_usage": True}} if stream else {}
    asked = asking() | {"prompt": prompts, "n": 2, "stream": stream, "echo": True} | options
    answer = await http.post(COMPLETIONS, json=asked)
    texts = [""] * 6
    usage = {}
    for body in events(answer) if stream else [answer.json()]:
        usage = body["usage"]
        for choice in body["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == [prompt * 2 for prompt in prompts for _ in range(2)]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (4, 8)


@pytest.mark.parametrize("echo", [False, True])
async def test_tokens_go_on_as_their_text_does(http: httpx.AsyncClient, echo: bool) -> None:
    texts = ["one two ", "three"]
    tokens = [(await http.post("/tokenize", json=asking(text))).json()["tokens"] for text in texts]
    for prompts in (tokens, tokens[0], [texts[0], tokens[1]]):
        answer = await http.post(COMPLETIONS, json=asking() | {"prompt": prompts, "echo": echo})
        told = [choice["text"] for choice in answer.json()["choices"]]
        asked = texts if prompts is not tokens[0] else texts[:1]
        assert told == [(text if echo else "") + text.strip() for text in asked]


async def test_each_prompt_has_the_answer_that_it_has_alone(
    scripted: Any, make_worker: Any, client_of: ClientOf
) -> None:
    engine = scripted("a", END)
    async with client_of(build_app(make_worker(engine), max_body_bytes=10**6)) as http:
        asked = {"model": "scripted", "prompt": ["x", [1, 2]], "n": 2, "seed": 3}
        answer = (await http.post(COMPLETIONS, json=asked | {"max_tokens": 5})).json()
    prompts = (ReadyPrompt("x", continues=True), ReadyPrompt("", continues=True, tokens=(1, 2)))
    assert [(one.prompt, one.sampling.seed) for one in engine.asked] == [
        (prompt, seed) for prompt in prompts for seed in (3, 4)
    ]
    assert answer["usage"]["prompt_tokens"] == 6


async def test_the_prompt_reaches_the_engine_as_it_stands(
    scripted: Any, make_worker: Any, client_of: ClientOf
) -> None:
    engine = scripted("a", END)
    async with client_of(build_app(make_worker(engine), max_body_bytes=10**6)) as http:
        asked = {"model": "scripted", "prompt": " <s>USER: x ", "max_tokens": 5, "stop": "y"}
        await http.post(COMPLETIONS, json=asked | {"seed": 3, "min_tokens": 2})
    (request,) = engine.asked
    assert request.prompt == ReadyPrompt(" <s>USER: x ", continues=True)
    sampling = request.sampling
    assert (sampling.max_new_tokens, sampling.min_new_tokens, sampling.seed) == (5, 2, 3)
    assert (sampling.stop, sampling.top_logprobs) == (("y",), None)


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_have_openai_s_older_shape(
    scripted: Any, make_worker: Any, client_of: ClientOf, stream: bool
) -> None:
    first = TokenLogprob(" é", " é".encode(), -0.5, (TokenLogprob(" a", b" a", -0.1),))
    half, rest = "€".encode()[:1], "€".encode()[1:]
    halves = tuple(TokenLogprob(part.decode(errors="replace"), part, -1.0) for part in (half, rest))
    script = (Delta(" é", logprobs=(first,)), Delta("€", logprobs=halves), END)
    worker = make_worker(scripted(*script))
    async with client_of(build_app(worker, max_body_bytes=10**6)) as http:
        asked = {"model": "scripted", "prompt": "x", "logprobs": 1, "stream": stream}
        answer = await http.post(COMPLETIONS, json=asked)
    bodies = events(answer) if stream else [answer.json()]
    told: dict[str, list[Any]] = {}
    for body in bodies:
        for name, values in (body["choices"][0]["logprobs"] or {}).items():
            told.setdefault(name, []).extend(values)
    assert told["tokens"] == [" é", "bytes:\\xe2", "bytes:\\x82\\xac"]
    assert told["token_logprobs"] == [-0.5, -1.0, -1.0]
    assert told["top_logprobs"][0] == {" a": -0.1, " é": -0.5}
    assert told["text_offset"] == [0, 2, 3]


async def test_an_error_in_mid_answer_ends_the_stream(
    scripted: Any, make_worker: Any, client_of: ClientOf
) -> None:
    worker = make_worker(scripted("half", OutOfMemory("no room")))
    async with client_of(build_app(worker, max_body_bytes=10**6)) as http:
        asked = {"model": "scripted", "prompt": "x", "stream": True}
        answer = await http.post(COMPLETIONS, json=asked)
    *_, last = sse.EventDecoder().feed(answer.content)
    assert json.loads(last)["error"]["code"] == "out_of_memory"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "other"}, "model_not_found"),
        ({"prompt": "x <image>"}, "invalid_field"),
        ({"prompt": [7]}, "invalid_field"),
        ({"prompt": [7], "echo": True}, "invalid_field"),
        ({"suffix": "z"}, "unsupported_field"),
        ({"logit_bias": {"1": 5}}, "unsupported_field"),
        ({"min_tokens": 20}, "invalid_field"),
        ({"max_tokens": 5000}, "context_length_exceeded"),
    ],
)
async def test_what_cannot_be_served_is_refused(
    http: httpx.AsyncClient, fields: dict[str, Any], code: str
) -> None:
    error = (await http.post(COMPLETIONS, json=asking() | fields)).json()["error"]
    assert error["code"] == code
    assert error["param"] in (None, *fields)


async def test_openai_s_client_reads_both(app: FastAPI) -> None:
    async with (
        served(app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = await client.completions.create(model="echo", prompt="one two", logprobs=2)
        stream = await client.completions.create(model="echo", prompt="one two", stream=True)
        text = "".join([chunk.choices[0].text async for chunk in stream])
        with pytest.raises(openai.BadRequestError, match="suffix"):
            await client.completions.create(model="echo", prompt="one", suffix="two")
        card = await client.models.retrieve("echo")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("other")
    assert (whole.choices[0].text, text, card.id) == ("one two", "one two", "echo")
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.text_offset == [0, 4]
