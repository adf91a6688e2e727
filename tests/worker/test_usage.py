"""A worker tells a controller that asks what an answer used, and nobody else."""

import json

import httpx
import pytest

from llava_serve.protocol.usage import ASKING, HEADER, TokenCounts, parse_usage, take_usage
from llava_serve.request import Delta, Usage
from llava_serve.worker.app import build_app
from llava_serve.worker.usage import UsageTally
from tests.worker.conftest import MAX_BODY_BYTES, ClientOf, MakeWorker, ScriptedEngine, Step

CHAT = "/v1/chat/completions"


def chat(text: str = "one two three", model: str = "echo", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


async def test_a_stream_has_it_right_before_its_end_and_only_where_it_is_asked_for(
    http: httpx.AsyncClient,
) -> None:
    asked = chat(stream=True, stream_options={"include_usage": True})
    plain = await http.post(CHAT, json=asked)
    told = await http.post(CHAT, json=asked, headers=ASKING)
    assert b": usage" not in plain.content
    events = told.content.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    counts = parse_usage(events[-3].removeprefix(b": usage "))
    usage = json.loads(events[-4].removeprefix(b"data: "))["usage"]
    assert counts == TokenCounts(usage["prompt_tokens"], usage["completion_tokens"], 0)


async def test_what_the_client_gets_is_the_same_without_the_comments(
    http: httpx.AsyncClient,
) -> None:
    told = await http.post(CHAT, json=chat(stream=True), headers=ASKING)
    rest, counts = take_usage(told.content, b"\n\n")
    assert counts is not None
    plain = await http.post(CHAT, json=chat(stream=True))
    assert len(rest.split(b"\n\n")) == len(plain.content.split(b"\n\n"))


async def test_a_whole_answer_has_it_in_a_header(http: httpx.AsyncClient) -> None:
    told = await http.post(CHAT, json=chat(n=2), headers=ASKING)
    usage = told.json()["usage"]
    counts = TokenCounts(usage["prompt_tokens"], usage["completion_tokens"], 0)
    assert parse_usage(told.headers[HEADER]) == counts
    assert HEADER not in (await http.post(CHAT, json=chat())).headers


async def test_llavas_wire_has_it_in_a_record_of_its_own(http: httpx.AsyncClient) -> None:
    body = {"model": "echo", "prompt": "USER: hello ASSISTANT:"}
    told = await http.post("/worker_generate_stream", json=body, headers=ASKING)
    last = told.content.split(b"\0")[-2]
    assert parse_usage(last.removeprefix(b": usage ")) is not None
    plain = await http.post("/worker_generate_stream", json=body)
    assert b"usage" not in plain.content


@pytest.mark.parametrize("path", [CHAT, "/worker_generate_stream"])
async def test_an_answer_that_fails_tells_what_it_used(
    make_worker: MakeWorker, scripted: type[ScriptedEngine], client_of: ClientOf, path: str
) -> None:
    steps: list[Step] = [
        Delta("a", so_far=Usage(9, 1)),
        Delta("b", so_far=Usage(9, 2)),
        RuntimeError("lost"),
    ]
    app = build_app(make_worker(scripted(*steps)), max_body_bytes=MAX_BODY_BYTES)
    old = {"model": "scripted", "prompt": ""}
    body = chat(model="scripted", stream=True) if path == CHAT else old
    async with client_of(app) as http:
        answer = await http.post(path, json=body, headers=ASKING)
    separator = b"\n\n" if path == CHAT else b"\0"
    assert take_usage(answer.content, separator)[1] == TokenCounts(9, 2)


def test_the_first_delta_tells_the_prompt_and_later_ones_not_each() -> None:
    tally = UsageTally()
    told = [tally.add(Delta("x", so_far=Usage(9, i))) for i in range(1, 40)]
    assert told[0]
    assert told.count(True) == 3
    assert tally.so_far == TokenCounts(9, 39)


def test_answers_to_one_prompt_count_it_once() -> None:
    tally = UsageTally()
    for index in range(3):
        tally.add(Delta("x", index=index, so_far=Usage(9, 4, 5)))
    assert tally.so_far == TokenCounts(9, 12, 5)
    assert UsageTally().so_far is None
