"""What scaling learns from real controllers, and how it drains their workers."""

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster_token import bearer
from llava_serve.http import serving
from llava_serve.launching.placement.demand import DemandClient
from llava_serve.launching.placement.scaling import Demand
from tests.cluster.conftest import status_of

NOBODY = "http://127.0.0.1:1"
ONE, TWO = "http://10.0.0.1:40000", "http://10.0.0.2:40000"


class Controller:
    """A controller that serves, and its registry."""

    def __init__(self) -> None:
        self.workers = Registry(shortest_queue)
        self.app = build_app(self.workers, AdmissionPolicy("the-token"))

    def knows(self, address: str, running: int) -> None:
        status = status_of("one", capacity=4, queue_length=running)
        self.workers.register(address, status, now=time.monotonic(), expires=False)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


def client_of(session: aiohttp.ClientSession, *controllers: str) -> DemandClient:
    return DemandClient(session, controllers, lambda: bearer("the-token"))


async def test_the_demand_of_a_model_is_that_of_all_its_workers(
    session: aiohttp.ClientSession,
) -> None:
    controller = Controller()
    async with serving.served(controller.app) as address:
        client = client_of(session, address, NOBODY)
        assert await client.demand("one") is None
        controller.knows(ONE, running=3)
        controller.knows(TWO, running=1)
        assert await client.demand("one") == Demand(waiting=0, running=4, slots=4)
        assert await client.demand("other") is None
        assert await client_of(session, NOBODY).demand("one") is None


async def test_a_worker_is_drained_at_all_controllers_once_it_runs_nothing(
    session: aiohttp.ClientSession,
) -> None:
    first, second = Controller(), Controller()
    async with serving.served(first.app) as one, serving.served(second.app) as two:
        client = client_of(session, one, two)
        for controller, running in ((first, 0), (second, 1)):
            controller.knows(ONE, running)
            controller.knows(TWO, running)
        assert await client.is_served(ONE)
        assert not await client.is_drained(ONE)
        assert not await client.is_served(ONE)
        second.knows(ONE, 0)
        assert await client.is_drained(ONE)
        for controller in (first, second):
            states = {worker.address: worker.is_draining for worker in controller.workers.known()}
            assert states == {ONE: True, TWO: False}


async def test_where_the_controller_does_not_answer_nothing_is_drained(
    session: aiohttp.ClientSession,
) -> None:
    client = client_of(session, NOBODY)
    assert not await client.is_drained(ONE)
    assert not await client.is_served(ONE)


async def test_a_worker_that_has_left_is_drained(session: aiohttp.ClientSession) -> None:
    async with serving.served(Controller().app) as address:
        assert await client_of(session, address).is_drained(ONE)


async def test_a_controller_of_an_older_version_tells_of_nobody_that_waits(
    session: aiohttp.ClientSession,
) -> None:
    older = FastAPI()

    @older.get("/admin/models")
    def models() -> list[dict[str, Any]]:
        return [{"model": "one", "workers": 1, "alive": 1, "slots": 4, "queue_length": 2}]

    async with serving.served(older) as address:
        demand = await client_of(session, address).demand("one")
    assert demand == Demand(waiting=0, running=2, slots=4)
