"""Text completions take texts and tokens, and refuse by name what this stack does not do."""

from typing import Any

import pytest

from llava_serve.errors import BadRequest, InvalidField, UnsupportedField
from llava_serve.protocol.completions import MAX_TOKENS, parse_completion_request


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "prompt": "once upon"} | fields


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("once upon", ["once upon"]),
        (["once", "upon"], ["once", "upon"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [0]], [[1, 2], [0]]),
        (["once", [1]], ["once", [1]]),
    ],
)
def test_a_prompt_has_openai_s_shapes(prompt: object, prompts: list[Any]) -> None:
    asked = parse_completion_request(body(prompt=prompt, n=3))
    assert (asked.prompt, asked.answers) == (prompts, 3 * len(prompts))


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
        ({"prompt": []}, InvalidField, "none is empty"),
        ({"prompt": ["x", ""]}, InvalidField, "none is empty"),
        ({"prompt": [[1], []]}, InvalidField, "none is empty"),
        ({"prompt": [1, "x"]}, InvalidField, "a list of tokens"),
        ({"prompt": [1, [2]]}, InvalidField, "a list of tokens"),
        ({"prompt": [True]}, InvalidField, "a list of tokens"),
        ({"prompt": [-1]}, InvalidField, "a list of tokens"),
        ({"prompt": ["x"] * 513}, InvalidField, "holds 513 prompts; at most 512"),
        ({"prompt": ""}, InvalidField, "prompt"),
        ({"prompt": None}, InvalidField, "prompt"),
        ({"prompt": "an <image> here"}, InvalidField, "POST /v1/chat/completions"),
        ({"prompt": ["x", "<image>"]}, InvalidField, "POST /v1/chat/completions"),
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
