import re
from typing import Any

import pytest

from llava_serve.errors import InvalidField
from llava_serve.protocol.answer_form import JsonOfSchema
from llava_serve.protocol.openai import parse_chat_request

SCHEMA = {"type": "object", "properties": {"color": {"type": "string"}}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize(
    "fields", [{"guided_json": SCHEMA}, {"structured_outputs": {"json": SCHEMA, "regex": None}}]
)
def test_a_schema_of_vllm_is_a_response_format(fields: dict[str, Any]) -> None:
    form = parse_chat_request(body(**fields)).response_format
    assert isinstance(form, JsonOfSchema)
    assert form.json_schema.content == SCHEMA


def test_any_json_of_vllm_is_a_response_format() -> None:
    form = parse_chat_request(body(structured_outputs={"json_object": True})).response_format
    assert form is not None
    assert form.type == "json_object"


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
        ({"guided_regex": "a", "guided_choice": ["b"]}, "more than one form"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "more than one form"),
        ({"structured_outputs": {"grammar": "root ::= x"}}, "grammar is no form"),
        ({"structured_outputs": "json"}, "must be an object"),
        ({"guided_choice": []}, "choice is no form"),
        ({"guided_json": "{}"}, "valid dictionary"),
    ],
)
def test_what_is_no_form_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidField, match=reason):
        parse_chat_request(body(**fields))
