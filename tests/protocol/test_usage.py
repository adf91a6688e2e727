"""Usage goes beside an answer and comes out of it again, and nothing else does."""

import pytest

from llava_serve.protocol.usage import TokenCounts, parse_usage, take_usage

COUNTS = TokenCounts(7, 3, 5)
END = b"\n\n"
TEXT = b'data: {"said": ": usage {}"}' + END


@pytest.mark.parametrize("separator", [END, b"\0"])
def test_a_record_is_taken_out_and_read(separator: bytes) -> None:
    text = b'{"text": ": usage {}"}' + separator
    told = TokenCounts(7, 1).as_record(separator) + text + COUNTS.as_record(separator)
    assert take_usage(text + told + text, separator) == (text * 3, COUNTS)


def test_what_is_no_whole_record_stays() -> None:
    half = b'data: {"sa'
    assert take_usage(COUNTS.as_record(END) + half, END) == (half, COUNTS)
    assert take_usage(b": usage ", END) == (b": usage ", None)


@pytest.mark.parametrize("events", [b"", TEXT, b": keep-alive\n\n", TEXT + b": usages\n\n"])
def test_other_events_stay_as_they_are(events: bytes) -> None:
    assert take_usage(events, END) == (events, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1, 2, 3]",
        "{",
        pytest.param("[" * 100_000, id="deep"),
        '{"prompt_tokens": 1, "completion_tokens": 2}',
        '{"prompt_tokens": -1, "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": "1", "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": 1e999, "completion_tokens": 2, "image_tokens": 0}',
        '{"prompt_tokens": 2147483648, "completion_tokens": 2, "image_tokens": 0}',
    ],
)
def test_what_no_worker_of_ours_says_is_no_usage(text: str) -> None:
    assert parse_usage(text) is None


def test_what_is_written_is_read() -> None:
    assert parse_usage(COUNTS.as_json()) == COUNTS
