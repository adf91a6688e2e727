"""Token estimates of requests whose fields nobody has checked."""

import pytest

from llava_serve.cluster.recording.token_estimate import (
    estimate_llava_tokens,
    estimate_tokens,
)
from llava_serve.protocol.openai import parse_chat_request


@pytest.mark.parametrize("answer_tokens", [None, "7", 1.5, -1, 0, 10**400])
def test_a_length_that_no_answer_can_have_counts_as_none(answer_tokens: object) -> None:
    assert estimate_llava_tokens("four", 1, answer_tokens) == estimate_llava_tokens("four", 1, None)


def test_a_prompt_its_pictures_and_its_longest_answer_count() -> None:
    assert estimate_llava_tokens("four", 2, 7) == 1 + 2 * 1000 + 7


@pytest.mark.parametrize(("detail", "tokens"), [("low", 600), ("high", 1000), ("auto", 1000)])
def test_a_picture_counts_less_where_one_tile_is_enough(detail: str, tokens: int) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,", "detail": detail}}
    said = {"role": "user", "content": [picture]}
    chat = parse_chat_request({"model": "m", "messages": [said], "max_tokens": 7})
    assert estimate_tokens(chat) == tokens + 7
