"""A stream is cut behind whole records only, and its end is known."""

import json

import pytest

from llava_serve.cluster.wire import NATIVE, OLD, Records, Wire
from llava_serve.errors import NoWorker
from llava_serve.protocol.llava import OldChunk
from llava_serve.protocol.sse import EventDecoder

STREAM = b'data: {"a": 1}\n\n: keep-alive\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_whatever_the_cut_the_bytes_stay_the_same(size: int) -> None:
    records = Records(NATIVE)
    pieces = [records.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size)]
    assert b"".join(pieces) == STREAM
    assert all(piece.endswith(b"\n\n") for piece in pieces if piece)
    assert (records.rest, records.has_ended) == (b"", True)


def test_half_a_record_is_held_back() -> None:
    records = Records(NATIVE)
    assert records.feed(b'data: {"a": 1}\n\ndata: {"b"') == b'data: {"a": 1}\n\n'
    assert (records.rest, records.has_ended) == (b'data: {"b"', False)


@pytest.mark.parametrize(
    ("wire", "record", "has_ended"),
    [
        (NATIVE, b"data: [DONE]", True),
        (NATIVE, b'data: {"error": {"message": "no"}}', True),
        (NATIVE, b'data: {"choices": []}', False),
        (NATIVE, b": keep-alive", False),
        (OLD, b'{"text": "no", "error_code": 4}', True),
        (OLD, b'{"text": "yes", "error_code": 0}', False),
        (OLD, b"not json", False),
        (OLD, b"[]", False),
    ],
)
def test_the_last_record_is_known(wire: Wire, record: bytes, has_ended: bool) -> None:
    records = Records(wire)
    records.feed(record + wire.separator)
    assert records.has_ended is has_ended


def test_an_error_is_one_last_record_on_both_wires() -> None:
    for wire in (NATIVE, OLD):
        records = Records(wire)
        encoded = wire.encode_error(NoWorker("echo"))
        assert records.feed(encoded) == encoded
        assert records.has_ended
    (event,) = EventDecoder().feed(NATIVE.encode_error(NoWorker("echo")))
    assert json.loads(event)["error"]["code"] == "no_worker"
    chunk = OldChunk.model_validate_json(OLD.encode_error(NoWorker("echo"))[:-1])
    assert (chunk.error_code, "no live worker" in chunk.text) == (2, True)
