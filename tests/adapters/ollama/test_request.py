"""Requests of Ollama's protocol: what becomes of each field, and which are refused by name."""

from typing import Any

import ollama
import pytest

from llava_serve.adapters.ollama.request import OllamaChat, OllamaPrompt
from llava_serve.engines.echo import CONTEXT_LENGTH
from llava_serve.errors import BadRequest
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.protocol.strict import parse_body
from tests.adapters.ollama.conftest import asked

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def chat_of(**fields: Any) -> dict[str, Any]:
    """Return the chat completion of a request, once the native wire has accepted it."""
    chat = parse_body(OllamaChat, asked(stream=False, **fields)).adapted("echo").chat
    parse_chat_request(chat)
    return {name: value for name, value in chat.items() if name not in ("model", "messages")}


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        (
            {"format": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA},
                }
            },
        ),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 3}, {}),
    ],
)
def test_a_field_becomes_one_of_the_chat(fields: dict[str, Any], chat: dict[str, Any]) -> None:
    assert chat_of(**fields) == chat


@pytest.mark.parametrize(
    "fields",
    [
        {"format": ""},
        {"format": None},
        {"keep_alive": 0},
        {"keep_alive": "5m"},
        {"keep_alive": -1},
        {"options": None},
        {"options": {}},
        {"shift": False},
        {"think": False},
        {"tools": []},
        {"truncate": False},
    ],
)
def test_a_field_that_asks_for_nothing_passes(fields: dict[str, Any]) -> None:
    assert chat_of(**fields) == {}


def test_images_stand_in_front_of_the_text() -> None:
    messages = [{"role": "user", "content": "look", "images": ["AAAA", "BBBB"]}]
    chat = parse_body(OllamaChat, asked(messages=messages)).adapted("echo").chat
    assert [part["type"] for part in chat["messages"][0]["content"]] == [
        *("image_url", "image_url", "text"),
    ]


async def test_a_beginning_is_continued(client: ollama.AsyncClient) -> None:
    begun = {"role": "assistant", "content": "hello <image> "}
    answer = await client.chat(**asked(messages=[*asked()["messages"], begun]))
    assert answer.message.content == "there"


async def test_an_answer_is_accepted_in_the_next_request(client: ollama.AsyncClient) -> None:
    answer = await client.chat(**asked())
    thought = ollama.Message(role="assistant", content="x", thinking="hm", tool_calls=[])
    go = {"role": "user", "content": "go"}
    messages = [*asked()["messages"], answer.message, go, thought, go]
    assert (await client.chat(**asked(messages=messages))).message.content == "go"


async def test_who_asks_nothing_is_told_that_the_model_is_there(
    client: ollama.AsyncClient,
) -> None:
    said = await client.chat("echo", [])
    assert (said.message.content, said.done, said.done_reason) == ("", True, "load")
    generated = await client.generate("echo", "")
    assert (generated.response, generated.done, generated.done_reason) == ("", True, "load")
    with pytest.raises(ollama.ResponseError, match="is not served here") as lost:
        await client.generate("other")
    assert lost.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="keep_alive 0 would unload the model"):
        await client.generate("echo", keep_alive=0)


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        (OllamaChat, {"format": "xml"}, "format"),
        (OllamaChat, {"format": 1}, "format"),
        (OllamaChat, {"think": True}, "think"),
        (OllamaChat, {"tools": [{"type": "function"}]}, "tools.0.function"),
        (OllamaChat, {"truncate": True}, "truncate"),
        (OllamaChat, {"model": ""}, "model"),
        (OllamaChat, {"options": {"unknown": 1}}, "options.unknown"),
        (OllamaChat, {"messages": [{"role": "nobody", "content": "5"}]}, "messages.0.role"),
        (OllamaChat, {"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        (
            OllamaChat,
            {"messages": [{"role": "user", "images": [1]}]},
            "messages.0.images.0",
        ),
        (OllamaPrompt, {"raw": True}, "raw"),
        (OllamaPrompt, {"template": "{{ .Prompt }}"}, "template"),
        (OllamaPrompt, {"suffix": "end"}, "suffix"),
        (OllamaPrompt, {"context": [1, 2]}, "context"),
    ],
)
def test_a_field_that_is_refused_is_named(
    kind: type[OllamaChat | OllamaPrompt], fields: dict[str, Any], named: str
) -> None:
    body = asked() if kind is OllamaChat else {"model": "echo", "prompt": "hi"}
    with pytest.raises(BadRequest) as refusal:
        parse_body(kind, body | fields)
    assert refusal.value.param == named  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "body", "sources"),
    [
        (
            OllamaChat,
            asked(
                messages=[
                    {"role": "user", "content": "look", "images": ["AAAA", "BBBB"]},
                    {"role": "assistant", "content": "so"},
                ]
            ),
            {
                "max_tokens": "options.num_predict",
                "repetition_penalty": "options.repeat_penalty",
                "temperature": "options.temperature",
                "response_format.json_schema.schema": "format",
                "logprobs": "logprobs",
                "continue_final_message": "messages.1",
                "messages.0": "messages.0",
                "messages.0.content.1.image_url.url": "messages.0.images.1",
                "messages.0.content.2.text": "messages.0.content",
            },
        ),
        (
            OllamaPrompt,
            {"model": "echo", "prompt": "look", "system": "Be brief.", "images": ["AAAA"]},
            {
                "messages.0.content.0": "system",
                "messages.1.content.0.image_url.url": "images.0",
                "messages.1.content.1.text": "prompt",
                "messages.1": "prompt",
            },
        ),
    ],
)
def test_every_field_has_a_source(
    kind: type[OllamaChat | OllamaPrompt], body: dict[str, Any], sources: dict[str, str]
) -> None:
    adapted = parse_body(kind, body).adapted("echo")
    assert {path: adapted.source_of(path) for path in sources} == sources


async def test_an_error_behind_the_translation_is_about_what_was_sent(
    client: ollama.AsyncClient,
) -> None:
    with pytest.raises(ollama.ResponseError, match=r"^format 'json_schema' is not supported"):
        await client.chat(**asked(format=SCHEMA))
    begun = {"role": "assistant", "content": "so"}
    with pytest.raises(ollama.ResponseError, match=r"^format: and a last message of the assist"):
        await client.chat(**asked(format=SCHEMA, messages=[*asked()["messages"], begun]))


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_arrive_as_the_clients_own_exception(
    client: ollama.AsyncClient, stream: bool
) -> None:
    async def error_of(**fields: Any) -> ollama.ResponseError:
        body: dict[str, Any] = asked(stream=stream, **fields)
        with pytest.raises(ollama.ResponseError) as refusal:
            answer: Any = await client.chat(**body)
            [line async for line in answer]
        return refusal.value

    lost = await error_of(model="other")
    assert lost.status_code == 404
    assert lost.error.endswith("Ask GET /v1/models for the names that are served.")
    full = await error_of(options={"num_predict": CONTEXT_LENGTH})
    assert full.status_code == 400
    assert full.error.endswith("or ask for fewer tokens.")
    long = await error_of(messages=[{"role": "user", "content": "x" * 1_100_000}])
    assert long.status_code == 413
