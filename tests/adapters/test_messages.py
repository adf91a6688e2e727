"""The `anthropic` package's own client gets along with a controller and with a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from PIL import Image
from pydantic import TypeAdapter

from llava_serve.engines.echo import EchoEngine
from tests.adapters.conftest import Stack, png_of, stack_of
from tests.until import until
from tests.worker.conftest import ScriptedEngine

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
ASKED: list[Any] = [{"role": "user", "content": "hello <image> there"}]


def client_of(address: str, **fields: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=address, max_retries=0, **({"api_key": "none"} | fields)
    )


@pytest.fixture
async def client(address: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client_of(address) as client:
        yield client


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "max_tokens": 100, "messages": ASKED} | fields


def image_block(image: Image.Image) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": png_of(image)}
    return {"type": "image", "source": source}


def text_of(message: Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


async def test_an_image_is_answered_with_usage(client: anthropic.AsyncAnthropic) -> None:
    content = [
        image_block(Image.new("RGB", (40, 30), "red")),
        {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
    ]
    answer = await client.messages.create(**asked(messages=[{"role": "user", "content": content}]))
    assert text_of(answer) == "[1 picture: 40x30] look"
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 4)
    assert answer.id.startswith("msg_")
    assert answer._request_id
    Message.model_validate(answer.model_dump(), strict=True)


async def test_events_come_in_anthropics_order(address: str) -> None:
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("POST", f"{address}/v1/messages", json=asked(stream=True)) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        records = [line async for line in answer.aiter_lines() if line]
    names = [line.removeprefix("event: ") for line in records[::2]]
    assert names == [
        *("message_start", "content_block_start", "ping"),
        *["content_block_delta"] * 3,
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    events = [
        EVENTS.validate_json(line.removeprefix("data: "))
        for name, line in zip(names, records[1::2], strict=True)
        if name != "ping"
    ]
    assert [event.type for event in events] == [name for name in names if name != "ping"]
    assert events[0].message.usage.input_tokens == 3
    assert events[0].message.usage.output_tokens == 0
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == 3


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 2},
        {"stop_sequences": ["never", "there"]},
        {"system": "Be brief."},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "Zwölf Boxkämpfer\n\n\u2028 jagen \U0001f600"}]},
    ],
)
async def test_events_joined_are_the_whole_answer(
    client: anthropic.AsyncAnthropic, fields: dict[str, Any]
) -> None:
    whole = await client.messages.create(**asked(**fields))
    async with client.messages.stream(**asked(**fields)) as stream:
        joined = await stream.get_final_message()
    ours = {"id", "usage"}
    assert joined.model_dump(exclude=ours) == whole.model_dump(exclude=ours)
    assert joined.usage.output_tokens == whole.usage.output_tokens


async def test_an_answer_cut_by_its_limit_says_so(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.messages.create(**asked(max_tokens=1))).stop_reason == "max_tokens"


async def test_the_stop_sequence_that_ended_the_answer_is_named(
    client: anthropic.AsyncAnthropic,
) -> None:
    answer = await client.messages.create(**asked(stop_sequences=["never", "there"]))
    assert text_of(answer) == "hello <image> "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "there")


async def test_a_beginning_is_continued(client: anthropic.AsyncAnthropic) -> None:
    begun = {"role": "assistant", "content": [{"type": "text", "text": "hello <image> "}]}
    answer = await client.messages.create(**asked(messages=[*ASKED, begun]))
    assert text_of(answer) == "there"


async def test_turns_of_one_role_in_a_row_are_one(client: anthropic.AsyncAnthropic) -> None:
    messages = [{"role": "user", "content": words} for words in ("one", "two")]
    assert text_of(await client.messages.create(**asked(messages=messages))) == "one \ntwo"


async def test_an_answer_is_accepted_in_the_next_request(client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.create(**asked())
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    messages = [
        *ASKED,
        answer.to_param(),
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [thought, *answer.content]},
        {"role": "user", "content": "on"},
    ]
    assert text_of(await client.messages.create(**asked(messages=messages))) == "on"


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"user_id": "u"}},
        {"service_tier": "standard_only"},
        {"thinking": {"type": "disabled"}},
        {"tool_choice": {"type": "none"}, "tools": [{"name": "f", "input_schema": {}}]},
        {"tools": []},
        {"system": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {"extra_body": {"temperature": 1.0, "top_p": 0.9, "top_k": 5}},
        {"output_config": {"effort": "low"}},
    ],
)
async def test_fields_that_ask_for_nothing_pass(
    client: anthropic.AsyncAnthropic, fields: dict[str, Any]
) -> None:
    assert text_of(await client.messages.create(**asked(**fields))) == "hello <image> there"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"extra_body": {"temperature": 1.5}}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
        ({"extra_body": {"logprobs": True}}, "logprobs"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"messages": []}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            "messages.0.content.0",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages.0.content.0.text",
        ),
    ],
)
async def test_a_field_that_is_refused_is_named(
    client: anthropic.AsyncAnthropic, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refusal:
        await client.messages.create(**asked(**fields))
    body: Any = refusal.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["param"] == named
    assert body["error"]["message"].startswith(named)


async def test_silence_is_filled_with_pings() -> None:
    held = asyncio.Event()
    async with (
        stack_of(ScriptedEngine(held, "there"), keep_alive_s=0.05) as stack,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream(
            "POST", f"{stack.controller}/v1/messages", json=asked(model="scripted", stream=True)
        ) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: ping"
        held.set()
        assert "event: message_start" in [line async for line in lines]


async def test_who_leaves_is_answered_no_more(echo: EchoEngine, address: str, stack: Stack) -> None:
    echo._delay_s = 0.05
    words = "word " * 1000
    body = asked(messages=[{"role": "user", "content": words}], max_tokens=2000)
    async with client_of(address) as client, client.messages.stream(**body) as stream:
        assert await anext(stream.text_stream)
        assert echo.running == 1
    await until(lambda: echo.running == 0, "the engine at rest")
    assert stack.gate.load.queue_length == 0


async def test_what_passes_for_media_is_no_text(address: str) -> None:
    text = "x" * 1_100_000
    block = {"type": "text", "text": "hi", "data": text}
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_100_000}
    async with httpx.AsyncClient(trust_env=False) as http:

        async def code_of(content: dict[str, Any], **fields: Any) -> str:
            messages = [{"role": "user", "content": [content]}]
            answer = await http.post(
                f"{address}/v1/messages", json=asked(messages=messages, **fields)
            )
            return str(answer.json()["error"]["code"])

        assert await code_of({"type": "image", "source": source}) == "media_unreadable"
        assert await code_of(block) == "invalid_field"
        schema = {"type": "json_schema", "schema": {"const": {"data": text}}}
        assert await code_of({"type": "text", "text": "hi"}, output_config={"format": schema}) == (
            "text_too_large"
        )


async def test_tokens_are_counted_without_an_answer(client: anthropic.AsyncAnthropic) -> None:
    content = [image_block(Image.new("RGB", (40, 30), "red")), {"type": "text", "text": "look"}]
    messages: list[Any] = [{"role": "user", "content": content}]
    count = await client.messages.count_tokens(model="echo", system="Be brief.", messages=messages)
    assert count.input_tokens == 4
    with pytest.raises(anthropic.NotFoundError, match="Ask GET /v1/models for the names"):
        await client.messages.count_tokens(model="other", messages=messages)


async def test_where_nothing_can_be_counted_that_is_said() -> None:
    async with stack_of(ScriptedEngine()) as stack, client_of(stack.controller) as client:
        with pytest.raises(anthropic.BadRequestError, match="Serve the model with python"):
            await client.messages.count_tokens(model="scripted", messages=ASKED)
