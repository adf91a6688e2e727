"""The `openai` package's `responses` get along with a controller and with a worker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from PIL import Image
from pydantic import TypeAdapter

from llava_serve.engines.echo import CONTEXT_LENGTH, EchoEngine
from tests.adapters.conftest import Stack, png_of, stack_of
from tests.cluster.keyed import echo_worker, keyed_controller
from tests.until import until
from tests.worker.conftest import ScriptedEngine

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def client_of(address: str, api_key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=api_key, max_retries=0)


@pytest.fixture
async def client(address: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(address) as client:
        yield client


def asked(said: Any = "hello <image> there", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "input": said} | fields


def image_part(image: Image.Image, **fields: Any) -> dict[str, Any]:
    url = "data:image/png;base64," + png_of(image)
    return {"type": "input_image", "image_url": url, "detail": "auto"} | fields


async def test_an_image_is_answered_with_usage(client: openai.AsyncOpenAI) -> None:
    image = image_part(Image.new("RGB", (40, 30), "red"), detail="original")
    content = [image, {"type": "input_text", "text": "look"}]
    answer = await client.responses.create(**asked([{"role": "user", "content": content}]))
    assert answer.output_text == "[1 picture: 40x30] look"
    assert (answer.status, answer.incomplete_details) == ("completed", None)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 4)
    Response.model_validate(answer.model_dump(), strict=True)


async def test_the_beginning_of_an_answer_is_continued(client: openai.AsyncOpenAI) -> None:
    said = [
        {"role": "user", "content": "one two three"},
        {"role": "assistant", "content": "one "},
    ]
    fields: dict[str, Any] = {"extra_body": {"continue_final_message": True}}
    assert (await client.responses.create(**asked(said), **fields)).output_text == "two three"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(**asked(said[:1]), **fields)
    assert refused.value.param == "continue_final_message"


async def test_events_come_in_openais_order(address: str) -> None:
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("POST", f"{address}/v1/responses", json=asked(stream=True)) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        records = [line async for line in answer.aiter_lines() if line]
    names = [line.removeprefix("event: ") for line in records[::2]]
    assert names == [
        *("response.created", "response.in_progress"),
        *("response.output_item.added", "response.content_part.added"),
        *["response.output_text.delta"] * 3,
        *("response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.completed"),
    ]
    events = [EVENTS.validate_json(line.removeprefix("data: ")) for line in records[1::2]]
    assert [event.type for event in events] == names
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.usage.total_tokens == 6
    assert events[0].response.status == "in_progress"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_output_tokens": 2},
        {"instructions": "Be brief.", "metadata": {"of": "mine"}},
        {"said": [{"role": "user", "content": ""}]},
        {"said": "Zwölf Boxkämpfer\n\n\u2028 jagen \U0001f600"},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    ],
)
async def test_events_joined_are_the_whole_answer(
    client: openai.AsyncOpenAI, fields: dict[str, Any]
) -> None:
    whole = await client.responses.create(**asked(**fields))
    async with client.responses.stream(**asked(**fields)) as stream:
        texts = [
            event.delta async for event in stream if event.type == "response.output_text.delta"
        ]
        joined = await stream.get_final_response() if whole.status == "completed" else None
    assert "".join(texts) == whole.output_text
    if joined is not None:
        (item,), (same,) = joined.output, whole.output
        assert item.type == same.type == "message"
        assert [part.model_dump(exclude={"parsed"}) for part in item.content] == [
            part.model_dump() for part in same.content
        ]
        ours = {"id", "output", "created_at"}
        assert joined.model_dump(exclude=ours) == whole.model_dump(exclude=ours)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_cut_by_its_limit_is_incomplete(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    answer: Any = await client.responses.create(**asked(max_output_tokens=1, stream=stream))
    if stream:
        *_, last = [event async for event in answer]
        assert last.type == "response.incomplete"
        answer = last.response
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].status == "incomplete"


async def test_log_probabilities_are_told(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(**asked("one two", top_logprobs=2))
    (item,) = answer.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    assert [(token.token, token.logprob) for token in part.logprobs or ()] == [
        ("one ", 0.0),
        ("two", 0.0),
    ]


async def test_an_answer_is_accepted_in_the_next_request(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(**asked())
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "hello <image> there", "type": "message"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        *[item.model_dump() for item in answer.output],
        {"role": "assistant", "content": "said as a text"},
        {"role": "user", "content": [{"type": "input_text", "text": "on"}]},
    ]
    assert (await client.responses.create(**asked(said))).output_text == "on"


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
        {"reasoning": {"effort": "low"}, "service_tier": "auto", "truncation": "disabled"},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
        {"include": ["reasoning.encrypted_content"], "background": False},
        {"previous_response_id": None, "conversation": None},
        {"temperature": 0.5, "top_p": 0.9},
    ],
)
async def test_fields_that_ask_for_nothing_pass(
    client: openai.AsyncOpenAI, fields: dict[str, Any]
) -> None:
    answer = await client.responses.create(**asked(**fields))
    assert answer.output_text == "hello <image> there"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"extra_body": {"n": 2}}, "n"),
        ({"said": []}, "input"),
        ({"said": [{"type": "item_reference", "id": "msg_1"}]}, "input.0"),
        ({"said": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input.0.content.0"),
        (
            {"said": [{"role": "user", "content": [{"type": "input_image", "detail": "auto"}]}]},
            "input.0.content.0.input_image",
        ),
        (
            {"said": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]},
            "input.0.content.0.text",
        ),
    ],
)
async def test_a_field_that_is_refused_is_named(
    client: openai.AsyncOpenAI, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        await client.responses.create(**asked(**fields))
    assert refusal.value.type == "invalid_request_error"
    assert refusal.value.param == named


async def test_where_no_response_is_kept_none_is_found(client: openai.AsyncOpenAI) -> None:
    for ask in (client.responses.retrieve("resp_1"), client.responses.delete("resp_1")):
        with pytest.raises(openai.BadRequestError, match="--keep-responses-days") as refusal:
            await ask
        assert refusal.value.code == "responses_not_kept"


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_arrive_as_the_clients_own_exceptions(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    async def ask(**fields: Any) -> None:
        await client.responses.create(**asked(stream=stream, **fields))

    with pytest.raises(openai.NotFoundError, match=r"Ask GET /v1/models for the names"):
        await ask(model="other")
    with pytest.raises(openai.BadRequestError, match="or ask for fewer tokens") as refusal:
        await ask(max_output_tokens=CONTEXT_LENGTH)
    assert refusal.value.code == "context_length_exceeded"
    with pytest.raises(openai.APIStatusError, match="Shorten the text; the limit is"):
        await ask(instructions="x" * 1_100_000)


async def test_a_key_that_is_not_good_is_an_authentication_error(tmp_path: Path) -> None:
    async with keyed_controller(tmp_path) as keyed, echo_worker(keyed):
        async with client_of(keyed.address, await keyed.key()) as client:
            assert (await client.responses.create(**asked("hi"))).output_text == "hi"
        async with client_of(keyed.address, "wrong") as client:
            with pytest.raises(openai.AuthenticationError, match="Send another key"):
                await client.responses.create(**asked())


async def test_a_failure_in_mid_stream_raises_after_the_text_so_far() -> None:
    engine = ScriptedEngine("so ", "far ", RuntimeError("the inside"))
    texts = []
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        events: Any = await client.responses.create(**asked(model="scripted", stream=True))
        with pytest.raises(openai.APIError, match="Look into the log"):
            async for event in events:
                if event.type == "response.output_text.delta":
                    texts.append(event.delta)
    assert texts == ["so ", "far "]


async def test_silence_is_filled_with_comments() -> None:
    held = asyncio.Event()
    async with (
        stack_of(ScriptedEngine(held, "there"), keep_alive_s=0.05) as stack,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream(
            "POST", f"{stack.controller}/v1/responses", json=asked(model="scripted", stream=True)
        ) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == ": keep-alive"
        held.set()
        assert "event: response.created" in [line async for line in lines]


async def test_who_leaves_is_answered_no_more(echo: EchoEngine, address: str, stack: Stack) -> None:
    echo._delay_s = 0.05
    async with client_of(address) as client:
        stream: Any = await client.responses.create(**asked("word " * 1000, stream=True))
        assert await anext(stream)
        assert echo.running == 1
        await stream.close()
    await until(lambda: echo.running == 0, "the engine at rest")
    assert stack.gate.load.queue_length == 0


async def test_a_large_picture_is_no_text(client: openai.AsyncOpenAI) -> None:
    rng = Image.effect_noise((1200, 1200), 100)
    image = image_part(rng.convert("RGB"))
    assert len(image["image_url"]) > 1_000_000
    answer = await client.responses.create(**asked([{"role": "user", "content": [image]}]))
    assert answer.output_text == "[1 picture: 1200x1200] "
