"""A worker is silent only while it is waited for."""

import asyncio

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from llava_serve.cluster.upstream.upstream import UpstreamResponse
from llava_serve.errors import WorkerLost

IDLE_S = 0.01


class Received:
    """As much of an answer as is read here; what its worker sends is fed to `content`."""

    status = 200

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        self.headers: dict[str, str] = {}
        self.content = aiohttp.StreamReader(protocol, 2**16, loop=loop)
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


async def test_a_worker_that_is_silent_while_its_client_reads_is_not_lost() -> None:
    received = Received()
    answer = UpstreamResponse(received, "http://w", b"first", IDLE_S)  # type: ignore[arg-type]
    assert await answer.next_bytes() == b"first"
    reading = asyncio.create_task(answer.next_bytes())
    await asyncio.sleep(0)  # it waits
    received.content.feed_data(b"second")
    assert await reading == b"second"
    await asyncio.sleep(5 * IDLE_S)  # for its client
    received.content.feed_data(b"third")
    assert await answer.next_bytes() == b"third"
    with pytest.raises(WorkerLost, match=r"silent for 0.01 s"):
        await answer.next_bytes()
    answer.close()
    assert received.is_closed
