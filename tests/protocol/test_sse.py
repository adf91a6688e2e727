"""Events survive any cut of the byte stream."""

import random

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


def test_other_servers_line_endings_are_understood() -> None:
    stream = b"event: x\r\ndata:a\r\n\r\ndata: b\r\n\r\n"
    assert list(sse.EventDecoder().feed(stream)) == ["a", "b"]
    decoder = sse.EventDecoder()
    assert [event for byte in stream for event in decoder.feed(bytes([byte]))] == ["a", "b"]
