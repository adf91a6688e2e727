"""Usage goes beside an answer and comes out of it again, and nothing else does."""

import json

import pytest

from llava_serve.protocol.usage import (
    COMMENT,
    LLAVA_MARK,
    TokenCounts,
    parse_usage,
    take_records,
    usage_of,
)

COUNTS = TokenCounts(7, 3, 5)
TEXT = b'data: {"said": ": usage {}"}\n\n'


def test_a_comment_is_taken_out_and_read() -> None:
    events = TEXT + COUNTS.as_comment() + TEXT
    rest, (record,) = take_records(events, b"\n\n", COMMENT)
    assert rest == TEXT + TEXT
    assert parse_usage(record.removeprefix(COMMENT)) == COUNTS


def test_a_record_of_llavas_wire_is_taken_out_and_read() -> None:
    text = b'{"text": "{\\"usage\\":1}", "error_code": 0}\0'
    rest, (record,) = take_records(text + COUNTS.as_chunk() + text, b"\0", LLAVA_MARK)
    assert rest == text + text
    assert usage_of(json.loads(record)["usage"]) == COUNTS


@pytest.mark.parametrize("events", [b"", TEXT, b": keep-alive\n\n", TEXT + b": usages\n\n"])
def test_other_events_stay_as_they_are(events: bytes) -> None:
    assert take_records(events, b"\n\n", COMMENT) == (events, [])


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


def test_what_is_written_is_read() -> None:
    assert parse_usage(COUNTS.as_json()) == COUNTS
