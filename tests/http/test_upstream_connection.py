"""One connection to a worker: whatever it answers is read whole, or fails with its reason."""

import asyncio
import gc
import random
import socket
import struct
import weakref

import pytest

from llava_serve.http.answer_body import AnswerFailed
from llava_serve.http.upstream_connection import Answer, UpstreamConnection
from tests.http.raw_server import answering, read_request, serving
from tests.until import until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD = "POST / HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n"
MOST_UNREAD_BYTES = 131_072 + 262_144  # with what one read of the socket brings

WHOLE = [
    pytest.param(OK + b"Content-Length: 5\r\n\r\nhello", b"hello", id="length"),
    pytest.param(OK + b"Content-Length: 0\r\n\r\n", b"", id="nothing"),
    pytest.param(CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", id="chunks"),
    pytest.param(CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello", id="extension"),
    pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"hello", id="trailer"),
    pytest.param(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + b"Content-Length: 5\r\n\r\nhello",
        b"hello",
        id="interim",
    ),
]
UNTIL_CLOSE = [
    pytest.param(OK + b"\r\nhello", b"hello", id="until close"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", id="HTTP/1.0"),
    pytest.param(OK + b"Transfer-Encoding: gzip\r\n\r\nhello", b"hello", id="other coding"),
    pytest.param(OK + b"\r\n", b"", id="nothing until close"),
]


async def connect(address: str) -> UpstreamConnection:
    return (await connect_transport(address))[1]


async def connect_transport(address: str) -> tuple[asyncio.Transport, UpstreamConnection]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    loop = asyncio.get_running_loop()
    return await loop.create_connection(lambda: UpstreamConnection(lambda _: None), host, int(port))


async def ask(connection: UpstreamConnection, body: bytes = b"{}") -> Answer:
    return await connection.request(HEAD.format(len(body)).encode(), body)


async def rest(answer: Answer) -> bytes:
    read = bytearray()
    while data := await answer.content.readany():
        read += data
    return bytes(read)


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def rest_of_next(connection: UpstreamConnection) -> bytes:
    return await rest(await ask(connection))


@pytest.mark.parametrize(("written", "body"), WHOLE)
async def test_an_answer_that_says_its_length_needs_no_end(written: bytes, body: bytes) -> None:
    async with serving(answering(written, then_silent=True)) as address:
        connection = await connect(address)
        answer = await ask(connection)
        assert (answer.status, await rest(answer)) == (200, body)
        assert "Link" not in answer.headers  # that was an interim answer's
        assert connection.is_usable
        connection.abort()


@pytest.mark.parametrize(("written", "body"), UNTIL_CLOSE)
async def test_an_answer_without_a_length_ends_with_its_connection(
    written: bytes, body: bytes
) -> None:
    async with serving(answering(written)) as address:
        connection = await connect(address)
        answer = await ask(connection)
        assert (answer.status, await rest(answer)) == (200, body)
        assert not connection.is_usable


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_is_whole(status: int) -> None:
    written = f"HTTP/1.1 {status} x\r\n\r\n".encode()
    async with serving(answering(written, then_silent=True)) as address:
        connection = await connect(address)
        answer = await ask(connection)
        assert (answer.status, await rest(answer)) == (status, b"")
        connection.abort()


async def test_headers_keep_their_order_and_are_found_in_any_case() -> None:
    written = OK + b"X-B: 1\r\nx-a: \xe9\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(written)) as address:
        answer = await ask(await connect(address))
    assert list(answer.headers.items())[:3] == [("X-B", "1"), ("x-a", "é"), ("X-B", "2")]
    assert answer.headers["X-A"] == "é"
    assert answer.headers.getall("x-b") == ["1", "2"]


@pytest.mark.parametrize(("written", "body"), WHOLE)
async def test_an_answer_that_is_cut_anywhere_reads_the_same(written: bytes, body: bytes) -> None:
    draw = random.Random(0)

    async with serving(silent) as address:
        connection = await connect(address)
        for count in [len(written), *range(1, 30)]:
            asking = asyncio.create_task(ask(connection))
            await asyncio.sleep(0)  # it waits
            cuts = sorted(draw.sample(range(1, len(written)), min(count, len(written) - 1)))
            for begin, end in zip([0, *cuts], [*cuts, len(written)], strict=True):
                connection.data_received(written[begin:end])
            answer = await asking
            assert (answer.status, await rest(answer)) == (200, body)
            assert connection.is_usable
        connection.abort()


@pytest.mark.parametrize(("written", "body"), WHOLE)
async def test_a_reader_waits_on_where_no_part_of_the_body_came(
    written: bytes, body: bytes
) -> None:
    """As where the length of a chunk comes without the chunk."""

    async with serving(silent) as address:
        connection = await connect(address)
        reading = asyncio.create_task(rest_of_next(connection))
        for at in range(len(written)):
            for _ in range(3):
                await asyncio.sleep(0)  # it takes what there is, and waits
            connection.data_received(written[at : at + 1])
        assert await reading == body
        connection.abort()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        pytest.param(b"", "the connection was closed", id="nothing"),
        pytest.param(OK + b"X-A: b\r\n", "the connection was closed", id="half a head"),
        pytest.param(b"SSH-2.0-x\r\n", "its answer is no HTTP", id="another protocol"),
        pytest.param(b"HTTP/1.1 101 x\r\n\r\n", "switches to another protocol", id="switch"),
        pytest.param(b"HTTP/1.1 999 x\r\n\r\n", "999 is no status", id="status"),
        pytest.param(OK + b"Content-Length: x\r\n\r\n", "its answer is no HTTP", id="length"),
        pytest.param(OK + b"X-A: b\0c\r\n\r\n", "its answer is no HTTP", id="NUL"),
        pytest.param(
            OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "its answer is no HTTP",
            id="two lengths",
        ),
        pytest.param(
            OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "its answer is no HTTP",
            id="length and chunks",
        ),
        pytest.param(OK + b"X-A: b\r\n" * 129 + b"\r\n", "too many headers", id="many headers"),
        pytest.param(
            OK + b"X-A: " + b"b" * 400_000, "no part of an answer's body", id="large head"
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
            "no part of an answer's body",
            id="interim answers without end",
        ),
    ],
)
async def test_what_is_no_answer_fails_with_its_reason(written: bytes, reason: str) -> None:
    async with serving(answering(written)) as address:
        connection = await connect(address)
        with pytest.raises(AnswerFailed, match=reason):
            await ask(connection)
        assert not connection.is_usable


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        pytest.param(CHUNKED + b"5\r\nhello\r\n", "the connection was closed", id="chunks cut"),
        pytest.param(
            OK + b"Content-Length: 9\r\n\r\nhello", "the connection was closed", id="length cut"
        ),
        pytest.param(CHUNKED + b"5\r\nhello\r\nZZ\r\n", "its answer is no HTTP", id="no chunk"),
        pytest.param(CHUNKED + b"5\r\nhelloXX", "its answer is no HTTP", id="a longer chunk"),
        pytest.param(
            CHUNKED + b"5\r\nhello\r\n1;" + b"a" * 400_000,
            "no part of an answer's body",
            id="extension without end",
        ),
        pytest.param(
            CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X-T: 1\r\n" * 200,
            "too many headers",
            id="many trailers",
        ),
        pytest.param(
            CHUNKED + b"5\r\nhello\r\n0\r\nX-T: " + b"a" * 400_000,
            "no part of an answer's body",
            id="large trailer",
        ),
    ],
)
async def test_what_came_before_a_failure_is_read_before_it(written: bytes, reason: str) -> None:
    async with serving(answering(written)) as address:
        connection = await connect(address)
        answer = await ask(connection)
        assert await answer.content.readany() == b"hello"
        with pytest.raises(AnswerFailed, match=reason):
            await rest(answer)
        assert not connection.is_usable


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        pytest.param(b"", "connection reset by peer", id="before a head"),
        pytest.param(OK + b"\r\n", "the connection was closed", id="in a body without a length"),
    ],
)
async def test_a_reset_connection_is_no_end_of_an_answer(written: bytes, reason: str) -> None:
    may_reset = asyncio.Event()

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(written)
        await may_reset.wait()
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving(reset) as address:
        asking = asyncio.create_task(ask(await connect(address)))
        if written:
            await asking
        may_reset.set()
        with pytest.raises(AnswerFailed, match=reason):
            await rest(await asking)


async def test_what_arrives_between_two_reads_is_read_at_once() -> None:
    async with serving(answering(CHUNKED, then_silent=True)) as address:
        connection = await connect(address)
        answer = await ask(connection)
        for chunk in (b"1\r\na\r\n", b"1\r\nb\r\n1\r\nc\r\n"):
            connection.data_received(chunk)
        assert await answer.content.readany() == b"abc"
        answer.close()


async def test_a_flood_in_one_turn_is_held_up_before_the_reader_runs() -> None:
    async with serving(answering(b"", then_silent=True)) as address:
        transport, connection = await connect_transport(address)
        reading = asyncio.create_task(rest_of_next(connection))
        await asyncio.sleep(0)  # it waits for the head
        connection.data_received(OK + b"Content-Length: 9000000\r\n\r\n" + bytes(10))
        await asyncio.sleep(0)  # it has it
        await asyncio.sleep(0)  # it waits for more
        for _ in range(4):
            connection.data_received(bytes(100_000))
        assert not transport.is_reading()
        reading.cancel()
        connection.abort()


async def test_a_connection_that_is_lost_without_an_end_makes_no_answer_whole() -> None:
    """As TLS under uvloop does, which drops what it held back."""
    async with serving(answering(b"", then_silent=True)) as address:
        connection = await connect(address)
        reading = asyncio.create_task(rest_of_next(connection))
        await asyncio.sleep(0)
        connection.data_received(OK + b"\r\nhel")
        connection.connection_lost(None)
        with pytest.raises(AnswerFailed, match="the connection was closed"):
            await reading


async def test_a_worker_waits_for_a_slow_reader() -> None:
    body = bytes(1_000_000) * 30

    async def generous(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.read()

    async with serving(generous) as address:
        connection = await connect(address)
        answer = await ask(connection)
        await until(lambda: answer.content.is_paused)
        first = await answer.content.readany()
        assert len(first) <= MOST_UNREAD_BYTES
        assert first + await rest(answer) == body
        assert connection.is_usable
        connection.abort()


async def test_a_connection_reads_on_when_its_answer_is_whole() -> None:
    may_leave = asyncio.Event()

    async def leave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await may_leave.wait()

    async with serving(leave) as address:
        connection = await connect(address)
        asking = asyncio.create_task(ask(connection))
        await asyncio.sleep(0)  # it waits
        connection.data_received(OK + b"Content-Length: 400000\r\n\r\n" + bytes(200_000))
        answer = await asking
        assert answer.content.is_paused
        connection.data_received(bytes(200_000))
        may_leave.set()
        await until(lambda: not connection.is_usable)
        assert await rest(answer) == bytes(400_000)


async def test_a_closed_connection_is_no_garbage() -> None:
    async with serving(answering(b"")) as address:
        connection = await connect(address)
        known = weakref.ref(connection)
        gc.disable()
        try:
            connection.abort()
            del connection
            await until(lambda: known() is None)
        finally:
            gc.enable()


async def test_a_large_body_arrives_whole_while_others_get_on() -> None:
    body = bytes(range(256)) * 40_000
    received = bytearray()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend((await read_request(reader))[1])
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()

    async with serving(converse) as address:
        connection = await connect(address)
        await ask(connection, body)
        assert received == body
        assert connection.is_usable
        connection.abort()


async def test_a_large_body_waits_for_a_worker_that_does_not_read() -> None:
    body, may_read = bytes(50_000_000), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_read.wait()
        received = (await read_request(reader))[1]
        writer.write(OK + f"Content-Length: 0\r\nX-Got: {len(received)}\r\n\r\n".encode())
        await reader.read()

    async with serving(slow) as address:
        transport, connection = await connect_transport(address)
        asking = asyncio.create_task(ask(connection, body))
        await until(lambda: transport.get_write_buffer_size() > 0)
        for _ in range(100):
            await asyncio.sleep(0)  # it sends no more
        assert transport.get_write_buffer_size() < 200_000
        may_read.set()
        assert (await asking).headers["X-Got"] == str(len(body))
        connection.abort()


async def test_a_connection_that_ended_before_its_request_says_so() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")

    async with serving(close) as address:
        connection = await connect(address)
        await until(lambda: not connection.is_usable)
        with pytest.raises(AnswerFailed, match="the connection was closed"):
            await ask(connection)


async def test_an_answer_that_comes_before_all_of_the_body_is_sent_is_read() -> None:
    left = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 x\r\nContent-Length: 5\r\n\r\nlarge")
        await reader.read()
        left.set()

    async with serving(refuse) as address:
        connection = await connect(address)
        answer = await ask(connection, bytes(50_000_000))
        assert (answer.status, await rest(answer)) == (413, b"large")
        assert not connection.is_usable  # the rest of the body stays unsent
        await until(left.is_set)


async def test_a_request_that_is_given_up_ends_the_connection() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()
        left.set()

    async with serving(say_nothing) as address:
        asking = asyncio.create_task(ask(await connect(address)))
        await asked.wait()
        asking.cancel()
        await until(left.is_set)
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_an_answer_that_is_closed_early_ends_the_connection() -> None:
    left = asyncio.Event()

    async def streaming(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(CHUNKED + b"5\r\nhello\r\n")
        await reader.read()
        left.set()

    async with serving(streaming) as address:
        answer = await ask(await connect(address))
        assert await answer.content.readany() == b"hello"
        answer.close()
        await until(left.is_set)
        with pytest.raises(AnswerFailed):
            await answer.content.readany()


async def test_an_answer_that_has_ended_closes_no_later_one() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            writer.write(OK + b"Content-Length: 5\r\n\r\nhello")
        await reader.read()

    async with serving(converse) as address:
        connection = await connect(address)
        first = await ask(connection)
        asking = asyncio.create_task(ask(connection))
        await asyncio.sleep(0)  # it waits
        first.close()
        assert await rest(first) == await rest(await asking) == b"hello"
        connection.abort()
