"""A chat request is honoured whole or refused by the name of the field."""

from typing import Any

import pytest
from openai.types.chat import (
    ChatCompletionMessage,
    ParsedChatCompletionMessage,
)
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from pydantic import BaseModel

from llava_serve.errors import InvalidField, UnsupportedField
from llava_serve.protocol.model_card import ModelCard
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
        ("top_p", -0.1),
        ("top_k", -2),
        ("max_tokens", 0),
        ("max_tokens", 10**400),
        ("max_completion_tokens", 10**400),
        ("min_tokens", 10**400),
        ("top_k", 10**400),
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
        ("store", True),
        ("best_of", 2),
        ("verbosity", "high"),
        ("stop_token_ids", [1]),
        ("skip_special_tokens", False),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse_chat_request(body(**{field: value}))
    assert field in refused.value.message


def test_neutral_values_of_unsupported_fields_pass() -> None:
    parse_chat_request(body(n=1, logprobs=False, tools=None, presence_penalty=0.0))


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"trace": "1"}, "user": "alice", "store": False, "service_tier": "flex"},
        {"safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"reasoning_effort": "low", "verbosity": "medium"},
        {"top_k": -1, "min_p": 0, "best_of": 1, "echo": False, "repetition_penalty": 1},
        {"skip_special_tokens": True, "stop_token_ids": [], "use_beam_search": False},
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"tool_choice": "auto", "tools": []},
    ],
)
def test_what_asks_the_engine_for_nothing_passes(fields: dict[str, Any]) -> None:
    assert parse_chat_request(body(**fields)).messages == parse_chat_request(body()).messages


def test_no_limit_of_vllm_is_none_here() -> None:
    assert parse_chat_request(body(top_k=-1)).top_k == 0
    with pytest.raises(InvalidField, match="top_k"):
        parse_chat_request(body(top_k=-2))


def test_a_bias_has_tokens_in_range() -> None:
    assert parse_chat_request(body(logit_bias={"17": -100})).logit_bias == {17: -100.0}
    for wrong in ({"red": 1}, {"-1": 1}, {"1": 101}, {str(token): 1 for token in range(1025)}):
        with pytest.raises(InvalidField, match="logit_bias"):
            parse_chat_request(body(logit_bias=wrong))


def test_a_picture_may_be_a_plain_address_and_say_what_to_cache() -> None:
    part = {"type": "image_url", "image_url": "data:,", "cache_control": {"type": "ephemeral"}}
    whole = {"type": "image_url", "image_url": {"url": "data:,"}}
    asked = [
        parse_chat_request(body(messages=[{"role": "user", "content": [one]}]))
        for one in (part, whole)
    ]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("field", sorted(CompletionCreateParamsBase.__annotations__))
def test_null_asks_for_nothing_in_every_field_of_openais(field: str) -> None:
    if field not in ("model", "messages"):
        parse_chat_request(body(**{field: None}))


class Colour(BaseModel):
    name: str


ANSWER: dict[str, Any] = {"role": "assistant", "content": '{"name":"red"}'}
ANSWERS = [
    ChatCompletionMessage(**ANSWER),
    ParsedChatCompletionMessage[None](**ANSWER),
    ParsedChatCompletionMessage[Colour](**ANSWER, parsed=Colour(name="red")),
    ChatCompletionMessage(**ANSWER, reasoning_content="it looks red", reasoning=None),
    ChoiceDelta(**ANSWER),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_comes_back_as_the_openai_client_dumps_it(answer: BaseModel) -> None:
    request = parse_chat_request(body(messages=[answer.model_dump()]))
    assert request == parse_chat_request(body(messages=[ANSWER]))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field)
        for kind in (ChatCompletionMessage, ParsedChatCompletionMessage, ChoiceDelta)
        for field in kind.model_fields
        if field not in ANSWER
    ],
)
@pytest.mark.parametrize("value", [None, []])
def test_each_field_of_an_answer_alone_comes_back(
    kind: type[BaseModel], field: str, value: Any
) -> None:
    if value is None or "List" in str(kind.model_fields[field].annotation):
        parse_chat_request(body(messages=[{**ANSWER, field: value}]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("function_call", {"name": "f", "arguments": ""}),
        ("refusal", "I will not"),
        ("audio", {"id": "a"}),
        ("annotations", [{"type": "url_citation"}]),
    ],
)
def test_what_a_message_asks_beyond_its_words_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse_chat_request(body(messages=[{**ANSWER, field: value}]))
    assert refused.value.param == f"messages.0.{field}"


def test_null_content_is_refused_for_the_true_reason() -> None:
    with pytest.raises(
        InvalidField, match="which only a turn of the assistant with tool_calls may be"
    ):
        parse_chat_request(body(messages=[{"role": "assistant", "content": None}]))


def test_what_sglang_s_router_adds_to_each_request_passes() -> None:
    """Source: a request that sglang-router 0.3.2 forwarded."""
    added = {
        **{"logprobs": False, "no_stop_trim": False, "ignore_eos": False},
        **{"continue_final_message": False, "skip_special_tokens": True},
        **{"separate_reasoning": True, "stream_reasoning": True, "return_hidden_states": False},
    }
    assert parse_chat_request(body(**added)).model == "m"
    with pytest.raises(UnsupportedField, match="return_hidden_states"):
        parse_chat_request(body(return_hidden_states=True))


def test_neutral_values_pass_in_parts_and_options() -> None:
    empty = dict.fromkeys(("text", "image_url", "video_url", "input_audio", "file", "refusal"))
    parts = [
        empty | {"type": "text", "text": "hi", "prompt_cache_breakpoint": None},
        empty | {"type": "image_url", "image_url": {"url": "data:,", "detail": None}},
        empty | {"type": "video_url", "video_url": {"url": "data:,", "num_frames": None}},
        {"type": "video_url", "video_url": {"url": "data:,", "detail": "auto"}},
    ]
    options = dict.fromkeys(("include_usage", "include_obfuscation", "continuous_usage_stats"))
    schema: dict[str, Any] = {"name": "n", "schema": {}, "description": None, "strict": None}
    parse_chat_request(
        body(
            messages=[{"role": "user", "name": None, "content": parts}],
            stream_options=options,
            response_format={"type": "json_schema", "json_schema": schema},
        )
    )


def test_what_a_part_asks_beyond_its_kind_is_refused_by_name() -> None:
    part = {"type": "text", "text": "hi", "image_url": {"url": "data:,"}}
    with pytest.raises(UnsupportedField) as refused:
        parse_chat_request(body(messages=[{"role": "user", "content": [part]}]))
    assert refused.value.param == "messages.0.content.0.image_url"


@pytest.mark.parametrize(
    ("part", "place", "reason"),
    [
        ({"type": "image_url", "image_url": 5}, "0.image_url", "valid dictionary"),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "size": 3}},
            "0.image_url.size",
            "Extra inputs",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "original"}},
            "0.image_url.detail",
            "'auto', 'high' or 'low'",
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


@pytest.mark.parametrize(
    ("accepts_images", "sees", "can_see"),
    [(True, None, True), (True, True, True), (True, False, False), (False, None, False)],
)
def test_a_model_can_see_that_takes_images_and_was_not_found_blind(
    accepts_images: bool, sees: bool | None, can_see: bool
) -> None:
    card = ModelCard(
        id="m",
        context_length=9,
        accepts_images=accepts_images,
        accepts_video=False,
        engine="echo",
        sees=sees,
    )
    assert card.can_see is can_see
    assert "can_see" not in card.model_dump()


def test_an_error_does_not_repeat_a_name_without_end() -> None:
    with pytest.raises(InvalidField) as refused:
        parse_chat_request(body(**{"x" * 5000: 1}))
    assert refused.value.param == "x" * 200
