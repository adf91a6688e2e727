"""Usage goes beside an answer and comes out of it again, and nothing else does."""

import pytest

from llava_serve.protocol.usage import TokenCounts, parse_usage, take_usage

COUNTS = TokenCounts(7, 3, 5)
TEXT = b'data: {"said": ": usage {}"}\n\n'


def test_a_comment_is_taken_out_and_read() -> None:
    assert take_usage(TEXT + COUNTS.as_comment() + TEXT) == (TEXT + TEXT, COUNTS)


def test_of_several_the_last_is_the_usage() -> None:
    events = TokenCounts(7, 1).as_comment() + TEXT + COUNTS.as_comment() + b"data: [DONE]\n\n"
    assert take_usage(events) == (TEXT + b"data: [DONE]\n\n", COUNTS)


@pytest.mark.parametrize("events", [b"", TEXT, b": keep-alive\n\n", TEXT + b": usages\n\n"])
def test_other_events_stay_as_they_are(events: bytes) -> None:
    assert take_usage(events) == (events, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1, 2, 3]",
        "{",
        '{"prompt_tokens": 1, "completion_tokens": 2}',
        '{"prompt_tokens": -1, "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": "1", "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": 1e999, "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": 10000000000000000000, "completion_tokens": 2, "image_tokens": 0}',
    ],
)
def test_what_no_worker_of_ours_says_is_no_usage(text: str) -> None:
    assert parse_usage(text) is None
    assert take_usage(b": usage " + text.encode() + b"\n\n") == (b"", None)


def test_what_is_written_is_read() -> None:
    assert parse_usage(COUNTS.as_json()) == COUNTS
