"""A stream is cut behind whole records only, and its end is known."""

import json

import pytest

from llava_serve.cluster.forwarding.records import Records
from llava_serve.cluster.upstream.wire import LLAVA, NATIVE, RecordKind, Wire
from llava_serve.errors import (
    BUSY,
    DECLINED,
    LOST,
    Busy,
    EngineFailure,
    EngineLost,
    Interrupted,
    NoWorker,
    ServeError,
    SglangLost,
    WorkerLost,
    WorkersLost,
)
from llava_serve.protocol.llava import LlavaChunk
from llava_serve.protocol.sse import EventDecoder

STREAM = b'data: {"a": 1}\n\n: keep-alive\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_whatever_the_cut_the_bytes_stay_the_same(size: int) -> None:
    records = Records(NATIVE)
    chunks = [records.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size)]
    assert b"".join(chunks) == STREAM
    assert all(chunk.endswith(b"\n\n") for chunk in chunks if chunk)
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
        (LLAVA, b'{"text": "no", "error_code": 4}', True),
        (LLAVA, b'{"text": "yes", "error_code": 0}', False),
        (LLAVA, b"not json", False),
        (LLAVA, b"[]", False),
    ],
)
def test_the_last_record_is_known(wire: Wire, record: bytes, has_ended: bool) -> None:
    records = Records(wire)
    records.feed(record + wire.separator)
    assert records.has_ended is has_ended


def test_an_error_is_one_last_record_on_both_wires() -> None:
    for wire in (NATIVE, LLAVA):
        records = Records(wire)
        encoded = wire.encode_error(NoWorker("echo"))
        assert (records.feed(encoded), records.refusal) == (
            b"",
            encoded.removesuffix(wire.separator),
        )
        assert records.has_ended
    (event,) = EventDecoder().feed(NATIVE.encode_error(NoWorker("echo")))
    assert json.loads(event)["error"]["code"] == "no_worker"
    chunk = LlavaChunk.model_validate_json(LLAVA.encode_error(NoWorker("echo"))[:-1])
    assert (chunk.error_code, "no live worker" in chunk.text) == (2, True)


def event(**choice: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode()


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (b": keep-alive", RecordKind.SIGN_OF_LIFE),
        (b": one\n: two", RecordKind.SIGN_OF_LIFE),
        (b": one\ndata: {}", RecordKind.TEXT),
        (event(delta={"role": "assistant", "content": ""}, finish_reason=None), RecordKind.OPENING),
        (event(delta={"role": "assistant", "content": None}, logprobs=None), RecordKind.OPENING),
        (event(delta={"role": "assistant", "content": " "}), RecordKind.TEXT),
        (event(delta={"tool_calls": [{"index": 0}]}), RecordKind.TEXT),
        (event(delta={}, finish_reason="stop"), RecordKind.TEXT),
        (b'data: {"choices": [], "usage": {"total_tokens": 1}}', RecordKind.TEXT),
        (b"data: [DONE]", RecordKind.TEXT),
        (b"data: 7", RecordKind.TEXT),
    ],
)
def test_what_is_no_token_yet_is_told_from_what_is(record: bytes, kind: RecordKind) -> None:
    assert NATIVE.kind_of(record, "") is kind


def test_the_prompt_alone_is_no_token_on_llava_s_wire() -> None:
    kinds = [LLAVA.kind_of(LlavaChunk(text=text).encode()[:-1], "hi") for text in ("hi", "hi t")]
    assert kinds == [RecordKind.SIGN_OF_LIFE, RecordKind.TEXT]


@pytest.mark.parametrize(
    ("error", "native", "llava"),
    [
        (Interrupted(), DECLINED, DECLINED),
        (NoWorker("m"), DECLINED, DECLINED),
        (Busy(1, 1, 1, 2), BUSY, DECLINED),
        (WorkerLost("http://w", "gone"), LOST, LOST),
        (SglangLost("http://s", "gone"), LOST, LOST),
        (WorkersLost(3), None, None),
        (EngineLost("for good"), LOST, LOST),
        (EngineFailure("ours"), None, None),
    ],
)
def test_an_error_before_any_text_says_whether_another_may_be_asked(
    error: ServeError, native: str | None, llava: str | None
) -> None:
    values = [
        wire.not_answered(wire.encode_error(error).strip(b"\0\n")) for wire in (NATIVE, LLAVA)
    ]
    assert values == [native, llava]


@pytest.mark.parametrize("wire", [NATIVE, LLAVA])
def test_a_record_that_is_nested_too_deep_is_some_text(wire: Wire) -> None:
    assert wire.kind_of(b"data: " + b"[" * 100_000, "hi") is RecordKind.TEXT
    assert wire.kind_of(b"[" * 100_000, "hi") is RecordKind.TEXT
