"""A server whose every byte is the test's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(converse: Converse) -> AsyncIterator[str]:
    """Yield the address at which each connection is `converse`d over, and then closed."""

    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await converse(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(close_after, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Return head and body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.partition("Content-Length: ")[2].split()[0])
    return head, await reader.readexactly(length)


def answering(answer: bytes, *, then_silent: bool = False) -> Converse:
    """Answer one request with the same bytes, and then close, or wait for the other side to."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        if then_silent:
            await reader.read()

    return converse
