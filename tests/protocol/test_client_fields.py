"""What a client says of itself is kept as it was sent, and never without bound."""

import json

import pytest

from llava_serve.protocol.client_fields import MOST_CHARACTERS, client_fields
from llava_serve.protocol.openai import parse_chat_request

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_fields_are_kept_as_they_were_sent_and_no_others() -> None:
    said = {
        "metadata": {"run": "7"},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": False,
        "user": "u",
    }
    parse_chat_request(ASKED | said)
    assert client_fields(ASKED | said) == said
    assert client_fields(ASKED | {"user": None}) == {}


@pytest.mark.parametrize("size", [MOST_CHARACTERS, 1_000_000])
def test_a_field_that_is_too_long_is_told_by_its_length(size: int) -> None:
    kept = client_fields({"metadata": {"a": "x" * size}, "user": "u"})
    assert kept["user"] == "u"
    assert kept["metadata"] == f"({size + 9:,} characters, which is too many to keep)"
    assert len(json.dumps(kept)) < MOST_CHARACTERS


def test_fields_share_one_limit() -> None:
    half = "x" * (MOST_CHARACTERS // 2)
    kept = client_fields({"metadata": {"a": half}, "prompt_cache_key": half, "user": "u"})
    assert kept["metadata"] == {"a": half}
    assert "too many" in kept["prompt_cache_key"]
    assert kept["user"] == "u"
