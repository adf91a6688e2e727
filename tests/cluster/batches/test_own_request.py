"""What a process asks of its own app has an answer, whatever becomes of it."""

import asyncio

from starlette.types import Receive, Scope, Send

from llava_serve.cluster.batches.asking_again import AskingAgain, code_of
from llava_serve.cluster.batches.own_request import own_request
from llava_serve.http.caller import Caller


async def breaks_off(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"half', "more_body": True})


async def test_an_answer_that_breaks_off_is_asked_again_and_then_an_error() -> None:
    answer = await own_request(breaks_off, "/v1/completions", b"{}", Caller(), asyncio.Event())
    assert answer is not None
    assert (answer.status, code_of(answer)) == (502, "answer_incomplete")
    again = AskingAgain()
    assert [again.wait_s(answer) is None for _ in range(3)] == [False, False, True]


async def test_an_answer_that_nobody_waits_for_is_none() -> None:
    left = asyncio.Event()
    left.set()
    assert await own_request(breaks_off, "/v1/completions", b"{}", Caller(), left) is None
