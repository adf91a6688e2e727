"""Errors behind a translation are about fields as the client of each protocol wrote them."""

import json
from typing import Any

import httpx
import pytest

from llava_serve.adapters.adapter import AdaptedRequest
from llava_serve.adapters.messages.request import COUNT_TOKENS, MESSAGES
from llava_serve.adapters.responses.request import RESPONSES
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import InvalidField
from llava_serve.storage.kept_responses import KeptResponses
from tests.adapters.conftest import stack_of
from tests.worker.conftest import ScriptedEngine

SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}
FILE = {"type": "image", "source": {"type": "file", "file_id": "file-1"}}
TEXT = {"type": "text", "text": "look"}
BYTES = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}


def message_body(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": [TEXT, *content]},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [*content, TEXT]},
    ]
    body = {"model": "echo", "max_tokens": 9, "system": "Be brief.", "messages": messages}
    return body | fields


def response_body(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    said = [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, *content]},
    ]
    return {"model": "echo", "instructions": "Be brief.", "input": said} | fields


async def error_at(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the error that a request is refused with, or that ends its stream."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(address + path, json=body)
    if answer.status_code >= 400:
        error: dict[str, Any] = answer.json()["error"]
        return error
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if "data: " in line]
    (error,) = [one["error"] for one in map(json.loads, events) if one["type"] == "error"]
    return error


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (MESSAGES.path, message_body(FILE), "messages.1.content.1"),
        (
            RESPONSES.path,
            response_body({"type": "input_image", "file_id": "file-1"}),
            "input.1.content.1",
        ),
        (MESSAGES.path, message_body(output_config={"format": SCHEMA}), "output_config.format"),
        (
            RESPONSES.path,
            response_body(text={"format": SCHEMA | {"name": "answer"}}),
            "text.format",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_about_the_field_that_was_sent(
    address: str, path: str, body: dict[str, Any], named: str, stream: bool
) -> None:
    """Here files are refused by who is asked, and structured outputs by the worker alone."""
    error = await error_at(address, path, body | ({"stream": True} if stream else {}))
    assert error["param"] == named
    assert error["message"].startswith(named)


async def test_so_is_one_of_what_is_counted(address: str) -> None:
    body = message_body(FILE)
    del body["max_tokens"]
    error = await error_at(address, COUNT_TOKENS.path, body)
    assert error["param"] == "messages.1.content.1"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            MESSAGES.path,
            message_body({"type": "document"}),
            "messages.1.content.1: the type 'document' is not known here; it must be 'text' or "
            "'image'",
        ),
        (RESPONSES.path, response_body({"text": "x"}), "input.1.content.1: has no type. "),
        (
            RESPONSES.path,
            response_body(input=[{"type": "web_search_call"}]),
            "input.0: the type 'web_search_call' is not known here; it must be 'message' or ",
        ),
    ],
)
async def test_an_unknown_type_is_told_in_a_client_s_words(
    address: str, path: str, body: dict[str, Any], message: str
) -> None:
    assert (await error_at(address, path, body))["message"].startswith(message)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (MESSAGES.path, message_body(), "output_config.format"),
        (RESPONSES.path, response_body(), "text.format"),
    ],
)
async def test_so_is_an_error_that_ends_a_stream(
    path: str, body: dict[str, Any], named: str
) -> None:
    engine = ScriptedEngine("so ", InvalidField("response_format", "response_format cannot go on"))
    async with stack_of(engine) as stack:
        asked = body | {"model": "scripted", "stream": True}
        error = await error_at(stack.controller, path, asked)
    assert error["param"] == named
    assert error["message"].startswith(f"{named}: response_format cannot go on. ")


@pytest.mark.parametrize(
    ("adapted", "sources"),
    [
        (
            MESSAGES.read(message_body(BYTES, FILE, stop_sequences=["x"])),
            {
                "stop": "stop_sequences",
                "response_format.json_schema.schema": "output_config.format",
                "top_k": "top_k",
                "messages": "messages",
                "messages.0": "system",
                "messages.1": "messages.0",
                "messages.1.content.0": "messages.0.content",
                "messages.1.content.2.image_url.url": "messages.1.content.1.source.data",
                "messages.1.content.3.image_file.file_id": "messages.1.content.2.source.file_id",
                "messages.3.content.1.image_url.url": "messages.3.content.1.source.file_id",
                "messages.3.content.1.image_url.detail": "messages.3.content.1.source.file_id",
                "continue_final_message": "messages.3",
            },
        ),
        (
            RESPONSES.read(response_body({"type": "input_image", "image_url": "x"})),
            {
                "max_tokens": "max_output_tokens",
                "messages": "input",
                "messages.0.content.0": "instructions",
                "messages.1": "input.1",
                "messages.1.content.1.image_url.url": "input.1.content.1.image_url",
                "messages.1.content.1.image_url.detail": "input.1.content.1.detail",
                "logprobs": "include",
            },
        ),
        (RESPONSES.read(response_body(top_logprobs=2)), {"logprobs": "top_logprobs"}),
    ],
)
def test_every_field_has_a_source(adapted: AdaptedRequest, sources: dict[str, str]) -> None:
    assert {path: adapted.source_of(path) for path in sources} == sources


async def test_items_count_from_the_first_one_that_was_sent(kept: KeptResponses) -> None:
    async with stack_of(EchoEngine(), responses=kept) as stack:
        async with httpx.AsyncClient(trust_env=False) as http:
            url = stack.controller + RESPONSES.path
            first = (await http.post(url, json={"model": "echo", "input": "one"})).json()
        body = {"model": "echo", "previous_response_id": first["id"]}

        async def named(part: dict[str, Any]) -> str:
            said = [{"role": "user", "content": [part]}]
            error = await error_at(stack.controller, RESPONSES.path, body | {"input": said})
            assert error["message"].startswith(error["param"])
            return str(error["param"])

        assert await named({"type": "input_text", "text": 1}) == "input.0.content.0.text"
        unnamed = {"type": "input_image", "file_id": ""}
        assert await named(unnamed) == "input.0.content.0.file_id"


async def test_no_answer_goes_on_in_a_format(address: str) -> None:
    body = message_body(output_config={"format": SCHEMA})
    body["messages"] = body["messages"][:3]
    error = await error_at(address, MESSAGES.path, body)
    assert error["message"].startswith(
        "output_config.format: and a last message of the assistant exclude each other"
    )
