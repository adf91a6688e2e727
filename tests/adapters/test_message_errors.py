"""Errors of the Messages protocol are exceptions of the `anthropic` package's own client."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from llava_serve.engines.echo import CONTEXT_LENGTH
from tests.adapters.conftest import stack_of
from tests.adapters.test_messages import asked, client_of, text_of
from tests.cluster.keyed import echo_worker, keyed_controller
from tests.worker.conftest import ScriptedEngine


@pytest.fixture
async def client(address: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client_of(address) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_arrive_as_the_clients_own_exceptions(
    client: anthropic.AsyncAnthropic, stream: bool
) -> None:
    async def ask(**fields: Any) -> None:
        await client.messages.create(**asked(stream=stream, **fields))

    with pytest.raises(anthropic.NotFoundError, match=r"Ask GET /v1/models for the names") as lost:
        await ask(model="other")
    assert lost.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="or ask for fewer tokens"):
        await ask(max_tokens=CONTEXT_LENGTH)
    with pytest.raises(anthropic.ContentTooLargeError, match="Shorten the text; the limit is"):
        await ask(system="x" * 1_100_000)


async def test_what_never_reaches_the_route_has_the_same_form(
    client: anthropic.AsyncAnthropic, address: str
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="POST /v1/messages/batches is not served"):
        await client.messages.batches.create(requests=[])
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{address}/v1/messages", content=b"{}", headers={"Content-Type": "text/plain"}
        )
    assert answer.status_code == 415
    assert answer.json()["error"]["message"].endswith("application/json.")
    assert answer.json()["request_id"] == answer.headers["request-id"]


async def test_keys_come_in_either_header(tmp_path: Path) -> None:
    async with keyed_controller(tmp_path) as keyed, echo_worker(keyed):
        key = await keyed.key()
        for shown in ({"api_key": key}, {"api_key": None, "auth_token": key}):
            async with client_of(keyed.address, **shown) as client:
                assert text_of(await client.messages.create(**asked())) == "hello <image> there"
        assert await keyed.used() == 12
        async with client_of(keyed.address, api_key="wrong") as client:
            with pytest.raises(anthropic.AuthenticationError, match="Send another key"):
                await client.messages.create(**asked())


async def test_a_failure_in_mid_stream_raises_after_the_text_so_far() -> None:
    texts = []
    engine = ScriptedEngine("so ", "far ", RuntimeError("the inside"))
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        with pytest.raises(anthropic.APIStatusError, match="Look into the log") as failure:
            async with client.messages.stream(**asked(model="scripted")) as stream:
                async for text in stream.text_stream:
                    texts.append(text)
    assert texts == ["so ", "far "]
    body: Any = failure.value.body
    assert body["error"]["type"] == "api_error"
