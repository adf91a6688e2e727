"""Connections to workers are made, kept for a while, and used again only when in order."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI, Response

from llava_serve.http import upstream_pool
from llava_serve.http.serving import served
from llava_serve.http.tls import Certificate, trust
from llava_serve.http.upstream_connection import Answer
from llava_serve.http.upstream_pool import ConnectionRefused, UpstreamPool
from tests.certificates import Certificates
from tests.http.raw_server import answering, read_request, serving
from tests.until import until

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


class Worker:
    """Answers every request with `answer`, and counts its connections."""

    def __init__(self, answer: bytes = HELLO) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.connections = 0
        self.closed = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                self.heads.append((await read_request(reader))[0])
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1


@asynccontextmanager
async def pool_of(
    trusted: ssl.SSLContext | None = None, connect_s: float = 10
) -> AsyncIterator[UpstreamPool]:
    pool = UpstreamPool(trusted, connect_s)
    async with pool.opened():
        yield pool


async def ask(pool: UpstreamPool, address: str, **headers: str) -> bytes:
    """Return the answer's body, and leave its connection to the pool."""
    return await rest(await pool.post(address, "/path?a=b", b"{}", headers))


async def rest(answer: Answer) -> bytes:
    read = bytearray()
    while data := await answer.content.readany():
        read += data
    answer.close()
    return bytes(read)


async def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        assert await ask(pool, address, Via="1.1 é") == b"hello"
        assert worker.heads[0].startswith("POST /path?a=b HTTP/1.1\r\n")
        assert f"\r\nHost: {address.removeprefix('http://')}\r\n" in worker.heads[0]
        assert "\r\nContent-Length: 2\r\nVia: 1.1 é\r\n\r\n" in worker.heads[0]


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_split_a_request(value: str) -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        for headers in ({"X-A": value}, {value: "a"}):
            with pytest.raises(ValueError, match="end of a line"):
                await ask(pool, address, **headers)
        assert worker.connections == 0


async def test_a_connection_is_used_again() -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        for _ in range(3):
            assert await ask(pool, address) == b"hello"
        assert (worker.connections, len(worker.heads)) == (1, 3)
    await until(lambda: worker.closed == 1)


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        assert await asyncio.gather(*(ask(pool, address) for _ in range(3))) == [b"hello"] * 3
        assert worker.connections == 3


async def test_an_answer_s_connection_is_free_before_its_reader_is_done() -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        first = await pool.post(address, "/", b"", {})
        assert await ask(pool, address) == b"hello"
        assert worker.connections == 1
        assert await rest(first) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="HTTP/1.0"),
        pytest.param(HELLO + b"X", id="bytes behind it"),
        pytest.param(HELLO + b"HTTP/1.1 ", id="half an answer behind it"),
        pytest.param(HELLO + HELLO, id="another answer behind it"),
    ],
)
async def test_a_connection_that_is_not_in_order_is_closed(answer: bytes) -> None:
    worker = Worker(answer)
    async with serving(worker.converse) as address, pool_of() as pool:
        for _ in range(2):
            assert await ask(pool, address) == b"hello"
        await until(lambda: worker.closed == 2)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda writer: writer.write(b"HTTP/1.1 408 x\r\n\r\n"), id="bytes"),
        pytest.param(lambda writer: writer.write_eof(), id="end"),
        pytest.param(lambda writer: writer.transport.abort(), id="reset"),
    ],
)
async def test_an_idle_connection_that_brings_anything_is_not_used(
    spoil: Callable[[asyncio.StreamWriter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_pool, "KEEP_ALIVE_S", 600)
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        assert await ask(pool, address) == b"hello"
        spoil(worker.writers[0])
        await until(lambda: worker.closed == 1)
        assert await ask(pool, address) == b"hello"
        assert worker.connections == 2


async def test_a_connection_that_is_idle_for_too_long_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream_pool, "KEEP_ALIVE_S", 0.01)
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        assert await ask(pool, address) == b"hello"
        await until(lambda: worker.closed == 1)


async def test_a_connection_that_was_not_closed_in_time_is_not_used_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    async with serving(worker.converse) as address, pool_of() as pool:
        assert await ask(pool, address) == b"hello"
        monkeypatch.setattr(upstream_pool, "KEEP_ALIVE_S", 0)
        assert await ask(pool, address) == b"hello"
        assert worker.connections == 2


async def test_a_refused_connection_says_so(unused_tcp_port: int) -> None:
    async with pool_of() as pool:
        with pytest.raises(ConnectionRefused, match=r"^connection refused$"):
            await ask(pool, f"http://127.0.0.1:{unused_tcp_port}")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://no-such-host.invalid:80", "its host name is unknown"),
        (f"http://{'a' * 70}:80", "its host is no name"),
        ("http://127.0.0.1:x", "its address is none"),
    ],
)
async def test_an_address_that_leads_nowhere_says_so(address: str, reason: str) -> None:
    async with pool_of() as pool:
        with pytest.raises(ConnectionRefused, match=reason):
            await ask(pool, address)


async def test_a_connection_that_takes_too_long_says_so() -> None:
    async with serving(answering(HELLO)) as address, pool_of(connect_s=0) as pool:
        with pytest.raises(ConnectionRefused, match="not accepted in time"):
            await ask(pool, address)


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The address of a server that speaks TLS, and the file to trust it by."""

    app = FastAPI()

    @app.post("/path")
    async def answer() -> Response:
        return Response("hello")

    certificates = Certificates.made(tmp_path)
    certificate = Certificate(*certificates.issue("localhost"))
    async with served(app, certificate=certificate) as address:
        yield address, certificates.ca_file


async def test_a_trusted_server_is_asked_over_tls(secure: tuple[str, Path]) -> None:
    address, ca_file = secure
    async with pool_of(trust(ca_file)) as pool:
        assert await ask(pool, address) == await ask(pool, address) == b"hello"


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure: tuple[str, Path]) -> None:
    async with pool_of() as pool:
        with pytest.raises(ConnectionRefused, match=r"not trusted.*--ca-file"):
            await ask(pool, secure[0])


async def test_a_certificate_for_another_name_is_refused(secure: tuple[str, Path]) -> None:
    address, ca_file = secure
    strict = ssl.create_default_context(cafile=ca_file)
    async with pool_of(strict) as pool:
        with pytest.raises(ConnectionRefused, match=r"is not one for 127\.0\.0\.1"):
            await ask(pool, address)


async def test_a_server_that_speaks_no_tls_says_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(answer) as address, pool_of() as pool:
        with pytest.raises(ConnectionRefused, match="so write http:// there"):
            await ask(pool, address.replace("http://", "https://"))
