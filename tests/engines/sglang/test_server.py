"""A server is known by what it says, from when it is ready until it is gone."""

import logging

import anyio
import pytest

from llava_serve.engines.base import Load
from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.server import Server
from llava_serve.errors import SglangUnreachable
from tests.engines.sglang.conftest import Listening, Recorded
from tests.ports import free_port

OFTEN_S = 0.01


async def test_a_server_may_come_late_go_and_come_back_with_another_model(
    recorded: Recorded, listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    server = Server(SglangClient(f"http://127.0.0.1:{port}"), look_every_s=OFTEN_S)
    with anyio.fail_after(20):
        async with server.watched():
            with pytest.raises(SglangUnreachable):
                server.card  # noqa: B018 - asking is the test
            async with listening(recorded, port):
                first = await server.change(None)
                assert first is not None
                assert first.id == "llava-onevision-7b"
                assert server.card is first
            assert await server.change(first) is None
            with pytest.raises(SglangUnreachable, match="connection refused"):
                server.served  # noqa: B018
            recorded.info |= {"model_path": "org/b", "served_model_name": "org/b"}
            async with listening(recorded, port):
                second = await server.change(None)
                assert second is not None
                assert second.id == "b"
    assert "this worker waits for it" in caplog.text


async def test_a_model_that_is_swapped_while_the_server_runs_is_a_change(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint:
        server = Server(SglangClient(endpoint), look_every_s=OFTEN_S)
        with anyio.fail_after(20):
            async with server.watched():
                first = await server.change(None)
                recorded.info |= {"served_model_name": "org/b"}
                second = await server.change(first)
    assert second is not None
    assert second.id == "b"


async def test_a_server_that_is_not_warm_yet_is_not_ready(
    recorded: Recorded, listening: Listening
) -> None:
    recorded.is_warm = False
    async with listening(recorded) as endpoint:
        server = Server(SglangClient(endpoint), look_every_s=OFTEN_S)
        with anyio.fail_after(20):
            async with server.watched():
                with anyio.move_on_after(0.3):
                    await server.change(None)
                with pytest.raises(SglangUnreachable, match="503"):
                    server.card  # noqa: B018
                recorded.is_warm = True
                assert await server.change(None) is not None


async def test_the_load_is_the_servers_own_over_all_its_ranks(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint:
        server = Server(SglangClient(endpoint), look_every_s=OFTEN_S)
        with anyio.fail_after(20):
            async with server.watched():
                await server.change(None)
                assert server.load() == Load(queue_length=6, capacity=16)


async def test_a_routers_servers_are_asked_and_one_that_died_does_no_harm(
    recorded: Recorded, listening: Listening
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with (
        listening(recorded) as first,
        listening(Recorded()) as second,
        listening(Recorded(info={}, servers=[nobody, first, second])) as endpoint,
    ):
        server = Server(SglangClient(endpoint), look_every_s=OFTEN_S)
        with anyio.fail_after(20):
            async with server.watched():
                assert await server.change(None) is not None
                assert server.served.address == first
                assert server.load() == Load(queue_length=12, capacity=32)


@pytest.mark.parametrize("info", [{}, {"model_path": "x"}])
async def test_something_else_at_the_address_is_no_server(
    recorded: Recorded, listening: Listening, info: dict[str, str]
) -> None:
    recorded.info = info
    async with listening(recorded) as endpoint:
        server = Server(SglangClient(endpoint), look_every_s=OFTEN_S)
        async with server.watched():
            with anyio.move_on_after(0.3):
                await server.change(None)
            with pytest.raises(SglangUnreachable, match="what answers there is no"):
                server.card  # noqa: B018
