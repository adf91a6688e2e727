"""A controller of the cluster is told the tokens of a stream, and may have it gone on with."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.http.access import Access
from llava_serve.protocol.resume import RESUME, with_tokens
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker
from tests.worker.conftest import MAX_BODY_BYTES

ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]

CHAT, OLD = "/v1/chat/completions", "/worker_generate_stream"
WORDS = "one two three"
ASKED: dict[str, Any] = {
    CHAT: {"model": "echo", "messages": [{"role": "user", "content": WORDS}], "stream": True},
    OLD: {"model": "echo", "prompt": f"{WORDS} "},
}
INSIDER = {"Authorization": "Bearer secret", RESUME: "123"}


async def ask(
    worker: ModelWorker,
    client_of: ClientOf,
    path: str,
    headers: dict[str, str],
    tokens: bytes = b"",
) -> httpx.Response:
    app = build_app(worker, max_body_bytes=MAX_BODY_BYTES, access=Access(token="secret"))
    body = json.dumps(ASKED[path]).encode()
    sent = {"Content-Type": "application/json"} | headers
    async with client_of(app) as http:
        return await http.post(
            path, content=with_tokens(body, tokens) if tokens else body, headers=sent
        )


@pytest.mark.parametrize(("path", "end"), [(CHAT, "\n\n"), (OLD, "\0")])
async def test_marks_tell_the_tokens_of_each_delta_but_the_last(
    worker: ModelWorker, client_of: ClientOf, path: str, end: str
) -> None:
    answer = await ask(worker, client_of, path, INSIDER)
    records = answer.text.split(end)[:-1]
    marks = [record for record in records if record.startswith(": tokens ")]
    assert marks == [": tokens 0", ": tokens 1", ": tokens 2"]
    assert answer.headers[RESUME] == "123"
    assert not records[-1].startswith(":")


@pytest.mark.parametrize("path", [CHAT, OLD])
@pytest.mark.parametrize(
    "headers", [{RESUME: "123"}, {"Authorization": "Bearer secret"}, INSIDER | {RESUME: ""}]
)
async def test_others_see_no_marks_and_begin_no_answer(
    worker: ModelWorker, client_of: ClientOf, path: str, headers: dict[str, str]
) -> None:
    answer = await ask(worker, client_of, path, headers, tokens=b"0,1")
    assert "three" not in answer.text
    assert "resume_tokens" in answer.text


async def test_an_answer_goes_on_without_a_role_and_with_its_first_time(
    worker: ModelWorker, client_of: ClientOf
) -> None:
    answer = await ask(worker, client_of, CHAT, INSIDER, tokens=b"0,1")
    events = [
        json.loads(record.removeprefix("data: "))
        for record in answer.text.split("\n\n")
        if record.startswith("data: {")
    ]
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert deltas == [{"content": "three"}, {}]
    assert {event["created"] for event in events} == {123}


async def test_llava_s_wire_tells_all_of_the_text_again(
    worker: ModelWorker, client_of: ClientOf
) -> None:
    answer = await ask(worker, client_of, OLD, INSIDER, tokens=b"0,1")
    chunks = [part for part in answer.text.split("\0") if part.startswith("{")]
    assert [json.loads(chunk)["text"] for chunk in chunks] == [
        f"{WORDS} one two ",
        f"{WORDS} {WORDS}",
        f"{WORDS} {WORDS}",
    ]


@pytest.mark.parametrize("tokens", [b'"a"', b"-1", b"1.5", b"[]", b"99999999999999999999"])
@pytest.mark.parametrize("path", [CHAT, OLD])
async def test_what_is_no_token_is_refused(
    worker: ModelWorker, client_of: ClientOf, path: str, tokens: bytes
) -> None:
    answer = await ask(worker, client_of, path, INSIDER, tokens)
    assert "resume_tokens" in answer.text
    assert "three" not in answer.text.replace(WORDS, "")
