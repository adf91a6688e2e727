"""Every shape in which SGLang tells an error becomes one of ours, with its message."""

from typing import Any

import pytest

from llava_serve.engines.sglang.failure import error_of
from llava_serve.errors import (
    ContextOverflow,
    ServeError,
    SglangBusy,
    SglangFailed,
    SglangRefused,
)

TOO_LONG = "The input (3001 tokens) is longer than the model's context length (2048 tokens)."
TOO_MUCH = (
    "Requested token count exceeds the model's maximum context length of 4096 tokens. "
    "You requested a total of 5151 tokens: 151 tokens from the input messages and 5000 tokens for "
    "the completion."
)


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"error": {"message": TOO_LONG}}, 400, ContextOverflow, "3001 tokens"),
        ({"object": "error", "message": TOO_MUCH, "code": 400}, 400, ContextOverflow, "151 tokens"),
        ({"error": {"message": "bad", "code": 400, "retryable": False}}, 500, SglangRefused, "bad"),
        ({"error": {"object": "error", "message": "bad", "code": 400}}, 500, SglangRefused, "bad"),
        ({"error": "unknown field `bogus`"}, 400, SglangRefused, "unknown field `bogus`"),
        ({"object": "error", "message": "no template", "code": 400}, 400, SglangRefused, "no temp"),
        ({"detail": "Not Found"}, 404, SglangFailed, "Not Found (404)"),
        ("Internal Server Error", 500, SglangFailed, "Internal Server Error (500)"),
        ({"error": {"message": "The request queue is full."}}, 503, SglangBusy, "queue is full"),
        (None, 503, SglangBusy, "it answers 503"),
        ("", 502, SglangFailed, "it answers 502"),
    ],
)
def test_an_answer_becomes_an_error(
    body: Any, status: int, kind: type[ServeError], words: str
) -> None:
    error = error_of(body, status)
    assert type(error) is kind
    assert words in error.message


def test_a_message_of_any_length_stays_readable() -> None:
    assert len(error_of("x" * 100_000, 500).message) < 600
