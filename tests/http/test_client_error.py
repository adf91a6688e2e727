"""A failed connection is described as a person would."""

import asyncio

import aiohttp
import pytest

from llava_serve.errors import ControllerUnreachable, ControllerUntrusted
from llava_serve.http.client_error import controller_error, reason_of, remote_error


async def test_a_refused_connection_says_so(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession(trust_env=False) as session:
        with pytest.raises(aiohttp.ClientError) as refused:
            await session.get(f"http://127.0.0.1:{unused_tcp_port}")
    assert reason_of(refused.value) == "connection refused"
    assert type(controller_error("http://c", refused.value)) is ControllerUnreachable


async def test_an_unknown_host_says_so() -> None:
    async with aiohttp.ClientSession(trust_env=False) as session:
        with pytest.raises(aiohttp.ClientError) as unknown:
            await session.get("http://no-such-host.invalid")
    assert reason_of(unknown.value).startswith("its host name is unknown")


async def test_a_server_that_speaks_no_tls_says_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with plain, aiohttp.ClientSession(trust_env=False) as session:
        host, port = plain.sockets[0].getsockname()
        with pytest.raises(aiohttp.ClientError) as refused:
            await session.get(f"https://{host}:{port}")
    assert reason_of(refused.value).startswith("no TLS connection can be made")
    assert isinstance(controller_error("https://c", refused.value), ControllerUntrusted)


def test_an_answer_that_is_nested_too_deep_is_a_text() -> None:
    assert remote_error(b"[" * 100_000, 502).message.startswith("[[[")


def test_an_error_without_a_text_has_a_name_at_least() -> None:
    assert reason_of(aiohttp.ServerDisconnectedError()) == "the connection was closed"
    assert reason_of(aiohttp.ClientError()) == "ClientError"
