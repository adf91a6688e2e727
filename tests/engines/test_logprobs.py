"""Logprobs keep to the text of their tokens."""

import pytest

from llava_serve.engines.logprobs import LogprobBuffer
from llava_serve.request import TokenLogprob

TOKENS = [TokenLogprob(text, text.encode(), -0.5) for text in ("It", " is", "")]


@pytest.mark.parametrize(
    ("unshown_bytes", "told"),
    [(0, ["It", " is", ""]), (1, ["It", " is"]), (3, ["It"]), (4, ["It"]), (5, []), (9, [])],
)
def test_tokens_are_told_of_which_something_is_shown(unshown_bytes: int, told: list[str]) -> None:
    held = LogprobBuffer()
    held.add(TOKENS)
    assert [one.text for one in held.take(unshown_bytes)] == told


def test_what_was_not_told_is_told_with_its_text() -> None:
    held = LogprobBuffer()
    held.add(TOKENS[:2])
    assert held.take(3) == (TOKENS[0],)
    held.add(TOKENS[2:])
    assert held.take(0) == (*TOKENS[1:],)
