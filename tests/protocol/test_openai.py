"""A chat request is honoured whole or refused by the name of the field."""

from typing import Any

import pytest

from llava_serve.errors import InvalidField, UnsupportedField
from llava_serve.protocol.openai import parse_chat_request


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields


def test_the_shortest_request_is_enough() -> None:
    request = parse_chat_request(body())
    assert request.messages[0].parts()[0].type == "text"
    assert request.stop == []


@pytest.mark.parametrize(
    ("stop", "strings"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])]
)
def test_stop_may_be_null_a_string_or_a_list(stop: Any, strings: list[str]) -> None:
    assert parse_chat_request(body(stop=stop)).stop == strings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_p", 0),
        ("top_k", -1),
        ("max_tokens", 0),
        ("stop", ""),
        ("stop", ["x"] * 17),
        ("messages", []),
        ("messages", "hi"),
        ("model", None),
        ("temprature", 1),
        ("num_beams", 4),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_chat_request(body(**{field: value}))
    assert refused.value.message.startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("store", True),
        ("logit_bias", {"1": 2}),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse_chat_request(body(**{field: value}))
    assert field in refused.value.message


def test_neutral_values_of_unsupported_fields_pass() -> None:
    parse_chat_request(body(n=1, logprobs=False, tools=None, presence_penalty=0.0))


@pytest.mark.parametrize(
    ("part", "place", "reason"),
    [
        ({"type": "image_url", "image_url": "data:,"}, "0.image_url", "valid dictionary"),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "size": 3}},
            "0.image_url.size",
            "Extra inputs",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
            "0.image_url.detail",
            "'auto' or 'high'",
        ),
        ({"type": "input_audio", "input_audio": {}}, "0", "input_audio"),
        ({"type": "text"}, "0.text", "required"),
        ("hi", "0", "valid dictionary"),
    ],
)
def test_a_bad_part_is_refused_with_its_place_and_reason(
    part: Any, place: str, reason: str
) -> None:
    with pytest.raises(InvalidField, match=reason) as refused:
        parse_chat_request(body(messages=[{"role": "user", "content": [part]}]))
    assert refused.value.param == f"messages.0.content.{place}"


def test_content_that_is_neither_text_nor_parts_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        parse_chat_request(body(messages=[{"role": "user", "content": 3}]))
    assert refused.value.param == "messages.0.content"


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_a_body_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidField, match="body"):
        parse_chat_request(value)
