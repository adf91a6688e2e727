"""Events survive any cut of the byte stream."""

import random
import time

import pytest

from llava_serve.errors import EventTooLarge
from llava_serve.protocol import sse


def test_events_come_out_whole_however_the_bytes_are_cut() -> None:
    events = ["one", '{"text": "größer 🌍"}', "x" * 500, sse.DONE]
    stream = sse.KEEP_ALIVE + b"".join(sse.encode(event) + sse.KEEP_ALIVE for event in events)
    for seed in range(200):
        draw = random.Random(seed)
        decoder, seen, rest = sse.EventDecoder(), list[str](), stream
        while rest:
            cut = draw.randint(1, 9)
            seen += decoder.feed(rest[:cut])
            rest = rest[cut:]
        assert seen == events


def test_comments_are_told_and_are_no_events() -> None:
    comments: list[str] = []
    decoder = sse.EventDecoder(comments.append)
    stream = b": waiting 1 of 2\n\n" + sse.KEEP_ALIVE + sse.encode("x")
    assert [event for byte in stream for event in decoder.feed(bytes([byte]))] == ["x"]
    assert comments == [": waiting 1 of 2", ": keep-alive"]


def test_other_servers_line_endings_are_understood() -> None:
    stream = b"event: x\r\ndata:a\r\n\r\ndata: b\r\n\r\n"
    assert list(sse.EventDecoder().feed(stream)) == ["a", "b"]
    decoder = sse.EventDecoder()
    assert [event for byte in stream for event in decoder.feed(bytes([byte]))] == ["a", "b"]


@pytest.mark.parametrize("chunk", [b"x", b"data: x\n", b": x\n"])
def test_an_event_without_end_is_refused(chunk: bytes) -> None:
    decoder = sse.EventDecoder()
    chunks = [chunk * 100_000] * (2 * sse.MAX_EVENT_BYTES // (len(chunk) * 100_000))
    with pytest.raises(EventTooLarge):
        for one in [b"data: ", *chunks]:
            assert list(decoder.feed(one)) == []


def test_many_large_events_are_each_within_the_bound() -> None:
    decoder = sse.EventDecoder()
    data = "x" * (sse.MAX_EVENT_BYTES // 2)
    for _ in range(4):
        assert list(decoder.feed(sse.encode(data))) == [data]


def test_the_time_for_an_event_grows_with_its_size_and_not_with_its_square() -> None:
    def seconds(size: int) -> float:
        decoder, event = sse.EventDecoder(), sse.encode("x" * size)
        begun = time.process_time()
        for at in range(0, len(event), 64):
            list(decoder.feed(event[at : at + 64]))
        return time.process_time() - begun

    assert seconds(4_000_000) < 40 * min(seconds(400_000) for _ in range(3))
