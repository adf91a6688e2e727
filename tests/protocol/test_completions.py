"""Text completions take one text, and refuse by name what this stack does not do."""

from typing import Any

import pytest

from llava_serve.errors import BadRequest, InvalidField, UnsupportedField
from llava_serve.protocol.completions import MAX_TOKENS, parse_completion_request


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "prompt": "once upon"} | fields


@pytest.mark.parametrize("prompt", ["once upon", ["once upon"]])
def test_a_prompt_is_a_text_or_a_list_of_one(prompt: object) -> None:
    assert parse_completion_request(body(prompt=prompt)).prompt == "once upon"


def test_what_is_left_out_is_openai_s_default() -> None:
    asked = parse_completion_request(body())
    assert (asked.most_tokens, asked.told_logprobs, asked.stop) == (MAX_TOKENS, None, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("best_of", 1),
        ("suffix", ""),
        ("suffix", None),
        ("echo", False),
        ("echo", True),
        ("logprobs", 5),
        ("logprobs", None),
        ("logit_bias", None),
        ("metadata", {"a": "b"}),
        ("user", "someone"),
        ("prompt_logprobs", None),
        ("add_special_tokens", True),
        ("stream_options", {"include_usage": True}),
        ("stop", ["a", "b"]),
        ("top_k", -1),
        ("seed", 7),
    ],
)
def test_a_field_that_is_honoured_or_asks_for_nothing_passes(field: str, value: object) -> None:
    parse_completion_request(body(**{field: value}))


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"prompt": [1, 2]}, UnsupportedField, "POST /detokenize"),
        ({"prompt": [[1, 2]]}, UnsupportedField, "POST /detokenize"),
        ({"prompt": ["a", "b"]}, UnsupportedField, "holds 2 texts"),
        ({"prompt": []}, UnsupportedField, "holds 0 texts"),
        ({"prompt": ""}, InvalidField, "prompt"),
        ({"prompt": None}, InvalidField, "prompt"),
        ({"prompt": "an <image> here"}, InvalidField, "POST /v1/chat/completions"),
        ({"suffix": "the end"}, UnsupportedField, "suffix"),
        ({"best_of": 2}, UnsupportedField, "best_of"),
        ({"logprobs": True, "echo": True}, UnsupportedField, "echo"),
        ({"logprobs": 21}, InvalidField, "logprobs"),
        ({"max_tokens": 0}, InvalidField, "max_tokens"),
        ({"messages": []}, InvalidField, "messages"),
        ({"prompt_logprobs": 1}, UnsupportedField, "prompt_logprobs"),
    ],
)
def test_anything_else_is_refused_by_name(
    fields: dict[str, Any], kind: type[BadRequest], said: str
) -> None:
    with pytest.raises(kind, match=said) as refused:
        parse_completion_request(body(**fields))
    assert getattr(refused.value, "param", None) in fields


def test_a_body_without_a_prompt_says_so() -> None:
    with pytest.raises(InvalidField) as refused:
        parse_completion_request({"model": "echo"})
    assert refused.value.param == "prompt"
