"""Tokenisation over HTTP, with vLLM's names: what is told is what a completion then reports."""

from typing import Any

import httpx
import pytest

from llava_serve.engines.echo import CONTEXT_LENGTH
from tests.worker.test_app import question
from tests.worker.test_inspection import part, shown
from tests.worker.test_nasty_inputs import animated, rotated

CHAT, TOKENIZE, DETOKENIZE = "/v1/chat/completions", "/tokenize", "/detokenize"


def text(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "prompt": prompt} | fields


async def test_a_text_becomes_tokens_and_a_text_again(http: httpx.AsyncClient) -> None:
    told = (await http.post(TOKENIZE, json=text("one  two\nthree", return_token_strs=True))).json()
    assert told["token_strs"] == ["one  ", "two\n", "three"]
    assert (told["count"], told["max_model_len"]) == (3, CONTEXT_LENGTH)
    body = {"model": "echo", "tokens": told["tokens"]}
    assert (await http.post(DETOKENIZE, json=body)).json() == {"prompt": "one  two\nthree"}


async def test_strings_are_told_only_where_they_are_asked_for(http: httpx.AsyncClient) -> None:
    told = (await http.post(TOKENIZE, json=text("one"))).json()
    assert told.keys() == {"count", "max_model_len", "tokens", "token_strs"}
    assert told["token_strs"] is None


@pytest.mark.parametrize(
    "body",
    [
        question("one two"),
        shown(part("image", rotated())),
        shown(part("image", rotated()), part("video", animated("GIF"))),
    ],
    ids=["text", "picture", "picture and clip"],
)
async def test_messages_have_the_tokens_that_a_completion_reports(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    told = (await http.post(TOKENIZE, json=body)).json()
    answer = (await http.post(CHAT, json=body)).json()
    assert told["count"] == len(told["tokens"]) == answer["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (text("x", model="other"), "model_not_found", "model"),
        (text("an <image>"), "invalid_field", "prompt"),
        ({"model": "echo"}, "invalid_field", "prompt"),
        (text("x", messages=[{"role": "user", "content": "x"}]), "invalid_field", "prompt"),
        (text("x", tools=[]), "invalid_field", "tools"),
        (question(add_special_tokens=True), "unsupported_field", "add_special_tokens"),
        (question(add_generation_prompt=False), "unsupported_field", "add_generation_prompt"),
        (question(continue_final_message=True), "invalid_field", "continue_final_message"),
        (question(tools=[{}]), "unsupported_field", "tools"),
        ({"model": "echo", "messages": []}, "invalid_field", "messages"),
        (shown(part("image", b"no picture")), "media_unreadable", None),
    ],
)
async def test_what_cannot_be_tokenised_is_refused_by_name(
    http: httpx.AsyncClient, body: dict[str, Any], code: str, param: str | None
) -> None:
    error = (await http.post(TOKENIZE, json=body)).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "other", "tokens": [1]}, "model_not_found"),
        ({"model": "echo", "tokens": [123456]}, "invalid_field"),
        ({"model": "echo", "tokens": ["x"]}, "invalid_field"),
        ({"model": "echo", "tokens": [2**40]}, "invalid_field"),
        ({"model": "echo"}, "invalid_field"),
    ],
)
async def test_what_is_no_token_is_refused(
    http: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    refused = await http.post(DETOKENIZE, json=body)
    assert (refused.status_code >= 400, refused.json()["error"]["code"]) == (True, code)
