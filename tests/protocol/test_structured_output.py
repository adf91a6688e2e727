import json
import re
from typing import Any

import pytest

from llava_serve.errors import InvalidField
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.protocol.structured_output import JsonOfSchema

SCHEMA = {"type": "object", "properties": {"color": {"type": "string"}}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA, "regex": None}},
    ],
)
def test_a_schema_of_vllm_is_a_response_format(fields: dict[str, Any]) -> None:
    asked = parse_chat_request(body(**fields)).response_format
    assert isinstance(asked, JsonOfSchema)
    assert asked.json_schema.content == SCHEMA


def test_any_json_of_vllm_is_a_response_format() -> None:
    asked = parse_chat_request(body(structured_outputs={"json_object": True})).response_format
    assert asked is not None
    assert asked.type == "json_object"


def test_a_choice_of_vllm_is_an_expression_that_matches_each_choice_alone() -> None:
    choices = ["yes", "a.b", "(c|d)*", "no\\", "x-y z"]
    for fields in ({"guided_choice": choices}, {"structured_outputs": {"choice": choices}}):
        regex = parse_chat_request(body(**fields)).regex
        assert regex is not None
        assert all(re.fullmatch(regex, each) for each in choices)
        assert not re.fullmatch(regex, "aXb")


def test_an_expression_of_vllm_is_one() -> None:
    assert parse_chat_request(body(guided_regex="a+")).regex == "a+"
    assert parse_chat_request(body(guided_regex=None, structured_outputs=None)).regex is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"guided_regex": "a", "guided_choice": ["b"]}, "more than one kind"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "more than one kind"),
        ({"structured_outputs": {"grammar": "root ::= x"}}, "is asked for grammar; json, regex"),
        ({"structured_outputs": "json"}, "must be an object"),
        ({"guided_choice": []}, "no list of texts"),
        ({"guided_json": "[]"}, "valid dictionary"),
        ({"guided_json": "{"}, "a schema that is no JSON"),
    ],
)
def test_what_is_no_structured_output_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidField, match=reason):
        parse_chat_request(body(**fields))
