"""Connections over real sockets: their number, the time and the size of a request's head."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from llava_serve.http import bounded_protocol, connections, serving
from llava_serve.http.body import BodyLimits
from llava_serve.http.bounded_protocol import BoundedProtocol
from llava_serve.http.connections import ConnectionLimits, ConnectionTable

ROOMY = ConnectionLimits(total=100, per_address=100, just_came_s=0)
REQUEST = b"GET /health HTTP/1.1\r\nHost: app\r\n\r\n"


@dataclass
class Socket:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        try:
            return not await asyncio.wait_for(self.reader.read(1), 10)
        except ConnectionResetError:
            return True


Connect = Callable[[], Awaitable[Socket]]


def build(may_end: asyncio.Event) -> FastAPI:
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=10_000, max_text_bytes=10_000))

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/slow")
    async def slow() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"begun"
            await may_end.wait()

        return StreamingResponse(chunks())

    @app.post("/size")
    async def size(body: dict[str, Any]) -> int:
        return len(body)

    return app


@asynccontextmanager
async def server(
    limits: ConnectionLimits, may_end: asyncio.Event | None = None
) -> AsyncIterator[Connect]:
    opened: list[Socket] = []
    app = build(may_end or asyncio.Event())
    async with serving.served(app, limits=limits) as address:
        port = int(address.rpartition(":")[2])

        async def connect() -> Socket:
            opened.append(Socket(*await asyncio.open_connection("127.0.0.1", port)))
            return opened[-1]

        try:
            yield connect
        finally:
            for socket in opened:
                socket.writer.close()


async def test_half_a_head_is_answered_with_408_after_its_time() -> None:
    async with server(replace(ROOMY, header_s=0.05)) as connect:
        socket = await connect()
        await socket.send(b"GET /health HTTP/1.1\r\nHost:")
        status, body = await socket.answer()
        assert (status, body["error"]["code"]) == (408, "headers_timeout")
        assert await socket.is_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_without_a_request_is_closed_after_its_time(sent: bytes) -> None:
    async with server(replace(ROOMY, header_s=0.05)) as connect:
        socket = await connect()
        await socket.send(sent)
        assert await (socket.is_closed() if not sent else has_ended(socket))


async def has_ended(socket: Socket) -> bool:
    return (await socket.answer())[0] == 408


async def test_the_time_of_a_second_head_counts_too() -> None:
    async with server(replace(ROOMY, header_s=0.05)) as connect:
        socket = await connect()
        await socket.send(REQUEST)
        assert (await socket.answer())[0] == 200
        await socket.send(b"GET /health")
        assert (await socket.answer())[0] == 408


@pytest.mark.parametrize("ends", [b"", b"\r\n\r\n"])
async def test_a_head_beyond_its_size_is_refused(ends: bytes) -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 200_000 + ends)
        status, body = await socket.answer()
        assert (status, body["error"]["code"]) == (431, "headers_too_large")


async def test_bytes_that_are_no_http_get_an_error_in_our_shape() -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        status, body = await socket.answer()
        assert (status, body["error"]["code"]) == (400, "malformed_http")
        assert body["error"]["request_id"]
        assert await socket.is_closed()


async def test_a_new_connection_takes_the_place_of_the_oldest_idle_one() -> None:
    async with server(replace(ROOMY, total=3)) as connect:
        first, second, third = [await connect() for _ in range(3)]
        await first.send(REQUEST)
        assert (await first.answer())[0] == 200  # so the second is idle for the longest time
        fourth = await connect()
        assert await second.is_closed()
        for socket in (first, third, fourth):
            await socket.send(REQUEST)
            assert (await socket.answer())[0] == 200


async def test_a_thousand_half_heads_keep_nobody_out() -> None:
    async with server(replace(ROOMY, total=2000, per_address=2000, idle_per_address=50)) as connect:
        half = [await connect() for _ in range(1000)]
        for socket in half:
            with_reset = socket.send(b"GET / HTTP/1.1\r\nX:")
            await asyncio.gather(with_reset, return_exceptions=True)
        healthy = await connect()
        await healthy.send(REQUEST)
        assert (await healthy.answer())[0] == 200
        assert await half[0].is_closed()


HALF = b"POST /size HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\n"
HALF += b"Content-Length: 9\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: app\r\n\r\n"


@pytest.mark.parametrize("bound", ["total", "per_address"])
async def test_where_all_are_answered_the_next_is_told_503(bound: str) -> None:
    may_end = asyncio.Event()
    async with server(replace(ROOMY, **{bound: 2}), may_end) as connect:
        busy = [await connect() for _ in range(2)]
        for socket in busy:
            await socket.send(SLOW)
            assert await socket.reader.readuntil(b"begun")
        refused = await connect()
        await refused.send(REQUEST)
        status, body = await refused.answer()
        assert (status, body["error"]["code"]) == (503, "too_many_connections")
        assert await refused.is_closed()
        may_end.set()
        for socket in busy:
            assert await socket.reader.readuntil(b"0\r\n\r\n")
        late = await connect()  # in the place of one that is idle
        await late.send(REQUEST)
        assert (await late.answer())[0] == 200


async def test_a_body_that_never_begins_gives_way_and_an_answer_does_not() -> None:
    may_end = asyncio.Event()
    async with server(replace(ROOMY, total=3), may_end) as connect:
        answered, half, whole = [await connect() for _ in range(3)]
        await answered.send(SLOW)
        assert await answered.reader.readuntil(b"begun")
        await half.send(HALF)
        await whole.send(HALF + b'{"a"')
        healthy = await connect()
        assert await half.is_closed()
        await whole.send(b": 12}")  # it has been heard of since
        await healthy.send(REQUEST)
        assert (await healthy.answer())[0] == 200
        assert await whole.reader.readuntil(b"\r\n\r\n1")
        may_end.set()
        assert await answered.reader.readuntil(b"0\r\n\r\n")


async def test_the_rest_of_a_refused_body_does_not_hold_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_protocol, "_DRAIN_S", 0.05)
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(b"POST /size HTTP/1.1\r\nHost: app\r\nContent-Length: 9000000\r\n")
        await socket.send(b"Content-Type: application/json\r\n\r\n{")
        assert (await socket.answer())[0] == 413
        assert await socket.is_closed()


async def test_a_client_that_sends_a_refused_body_whole_may_ask_again() -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(b"POST /size HTTP/1.1\r\nHost: app\r\nContent-Length: 900000\r\n")
        await socket.send(b"Content-Type: application/json\r\n\r\n")
        assert (await socket.answer())[0] == 413
        await socket.send(b"a" * 900_000 + REQUEST)
        assert (await socket.answer())[0] == 200


def test_the_limit_of_open_files_is_raised_to_what_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        raised = connections.raise_descriptor_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == min(hard if hard != resource.RLIM_INFINITY else 65_536, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 65_536])
def test_one_address_never_gets_all_connections(descriptors: int) -> None:
    limits = ConnectionLimits.of_descriptors(descriptors)
    assert limits.per_address < limits.total
    assert 2 * limits.total < descriptors or limits.total == 16


async def read_until(socket: Socket, end: bytes) -> bytes:
    return await asyncio.wait_for(socket.reader.readuntil(end), 10)


async def test_a_request_that_does_not_wait_for_the_answer_before_it_is_left_unread() -> None:
    may_end = asyncio.Event()
    async with server(ROOMY, may_end) as connect:
        socket = await connect()
        await socket.send(SLOW)
        await read_until(socket, b"begun")
        await socket.send(REQUEST)
        other = await connect()  # once it is answered, what was sent before has been seen
        await other.send(REQUEST)
        assert (await other.answer())[0] == 200
        may_end.set()
        await read_until(socket, b"0\r\n\r\n")
        assert await socket.is_closed()


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async with server(replace(ROOMY, header_s=0.05)) as connect:
        socket = await connect()
        await socket.send(REQUEST * 3)
        for _ in range(3):
            assert await socket.answer() == (200, {"status": "ok"})


async def test_nothing_is_written_into_an_answer_that_came_behind_another() -> None:
    may_end = asyncio.Event()
    async with server(replace(ROOMY, header_s=0.05), may_end) as connect:
        socket = await connect()
        await socket.send(REQUEST + SLOW)
        await read_until(socket, b"begun")
        await socket.send(b"G")
        await asyncio.wait([asyncio.create_task(may_end.wait())], timeout=0.2)
        may_end.set()
        rest = await read_until(socket, b"0\r\n\r\n")
        assert b"HTTP" not in rest


async def test_a_head_beyond_its_size_is_not_taken_in_behind_a_request_either() -> None:
    may_end = asyncio.Event()
    async with server(ROOMY, may_end) as connect:
        socket = await connect()
        await socket.send(SLOW)
        await read_until(socket, b"begun")
        with suppress(ConnectionError):
            for _ in range(100):
                await socket.send(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 65_536)
        with suppress(ConnectionError):
            assert not await asyncio.wait_for(socket.reader.read(), 10)


@pytest.mark.parametrize("behind", [b"", REQUEST])
async def test_a_client_that_leaves_ends_its_answer_whatever_it_sent_behind(behind: bytes) -> None:
    left = asyncio.Event()
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=10_000, max_text_bytes=10_000))

    @app.get("/slow")
    async def slow(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    async with serving.served(app, limits=ROOMY) as address:
        port = int(address.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SLOW + behind)
        await writer.drain()
        writer.transport.abort()
        await asyncio.wait_for(left.wait(), 10)


async def test_a_body_that_waits_for_memory_does_not_give_way() -> None:
    limits = BodyLimits(max_bytes=10_000_000, max_text_bytes=10_000_000)
    app = FastAPI()
    serving.prepare(app, limits)

    @app.post("/size")
    async def size(body: dict[str, Any]) -> int:
        return len(body)

    await limits.held.acquire(limits.held.total)
    async with serving.served(app, limits=replace(ROOMY, idle_per_address=3)) as address:
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"a": "' + b"a" * 2_000_000 + b'"}'
        head = HALF.replace(b"Content-Length: 9", b"Content-Length: %d" % len(body))
        writer.write(head + body)
        for _ in range(1000):
            if limits.held.waiting:
                break
            await asyncio.sleep(0.01)
        others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        await asyncio.sleep(0.1)
        limits.held.release(limits.held.total)
        assert b"200" in await asyncio.wait_for(reader.readline(), 10)
        for _, other in [*others, (reader, writer)]:
            other.close()


class Waiting:
    """A connection that waits for its client."""

    address = "10.0.0.1"
    is_closed = False

    def __init__(self, table: ConnectionTable) -> None:
        self._table = table

    def give_way(self) -> None:
        self.is_closed = True
        self._table.remove(self)


def test_connections_that_come_at_once_do_not_close_each_other() -> None:
    now = 0.0
    table = ConnectionTable(replace(ROOMY, idle_per_address=2, just_came_s=1), lambda: now)
    together = [Waiting(table) for _ in range(5)]
    assert all(map(table.add, together))
    assert not any(each.is_closed for each in together)
    now = 1.0
    table.mark_idle(together[0])  # it has sent something, and is silent for a shorter time
    assert table.add(Waiting(table))
    assert [each.is_closed for each in together] == [False, True, True, True, True]
    assert table.count == 2


def test_who_is_refused_leaves_nothing_in_the_table() -> None:
    table = ConnectionTable(replace(ROOMY, total=0))
    for number in range(100):
        connection = BoundedProtocol.__new__(BoundedProtocol)
        connection.address = f"10.0.0.{number}"
        assert not table.add(connection)
    assert not vars(table)["_addresses"]


async def test_the_body_of_a_request_that_comes_during_an_answer_has_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_protocol, "_DRAIN_S", 0.05)
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(REQUEST + HALF + b"{")
        assert (await socket.answer())[0] == 200
        await asyncio.sleep(0.2)  # longer than the rest of a body nobody wants may take
        await socket.send(b'"a": 12}')
        assert (await read_until(socket, b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
async def test_an_offer_of_another_protocol_is_not_taken_up_and_loses_no_body(offer: bytes) -> None:
    head = HALF.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: " + offer + b"\r\n\r\n")
    async with server(ROOMY) as connect:
        together, apart = await connect(), await connect()
        await together.send(head + b'{"a": 12}')
        await apart.send(head)
        await apart.send(b'{"a": 12}')
        for socket in (together, apart):
            assert (await read_until(socket, b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_client_that_takes_nothing_of_its_answer_is_left() -> None:
    ended = asyncio.Event()
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=10_000, max_text_bytes=10_000))

    @app.get("/slow")
    async def slow() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"a" * 1_000_000
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(chunks())

    async with serving.served(app, limits=replace(ROOMY, unread_s=0.2)) as address:
        port = int(address.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(SLOW)
        await asyncio.wait_for(ended.wait(), 10)
        writer.close()


async def test_a_client_that_reads_on_gets_all_of_a_long_answer() -> None:
    size = 24_000_000
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=10_000, max_text_bytes=10_000))
    app.get("/slow")(lambda: Response(bytes(size)))
    async with serving.served(app, limits=replace(ROOMY, unread_s=0.4)) as address:
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
        writer.write(SLOW)
        await reader.readuntil(b"\r\n\r\n")
        taken = 0
        for _ in range(20):  # several times as long as nothing of it may be taken
            taken += len(await reader.readexactly(size // 25))
            await asyncio.sleep(0.06)
        assert taken + len(await reader.readexactly(size - taken)) == size
        writer.close()


CHUNKED = b"POST /size HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\n"
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("path", [b"/size", b"/none"], ids=["read", "refused"])
@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"2\r\n{}\r\n0\r\n" + b"X-Some: field\r\n" * 5_000, id="trailer fields"),
        pytest.param(b"2\r\n{}\r\n0\r\nX-Some: " + b"a" * 70_000, id="one trailer field"),
        pytest.param(b"2;" + b"a" * 70_000, id="chunk extension"),
    ],
)
async def test_what_is_around_the_chunks_of_a_body_is_bounded(path: bytes, endless: bytes) -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(CHUNKED.replace(b"/size", path))
        with suppress(ConnectionError):
            for _ in range(5):
                await socket.send(endless)
                endless = endless[-40_000:]
        with suppress(ConnectionError):
            await asyncio.wait_for(socket.reader.read(), 10)
        assert await socket.is_closed()


async def test_a_body_in_many_small_chunks_is_read() -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(CHUNKED + b"1\r\n{\r\n" + b"1\r\n \r\n" * 9_000 + b"1\r\n}\r\n0\r\n\r\n")
        assert await socket.reader.readuntil(b"\r\n\r\n0")


async def test_a_field_behind_a_body_is_no_header() -> None:
    async with server(ROOMY) as connect:
        socket = await connect()
        await socket.send(CHUNKED + b"2\r\n{}\r\n0\r\nX-Request-ID: behind\r\n\r\n" + REQUEST)
        head = await socket.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"behind" not in head
