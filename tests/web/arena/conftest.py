"""A controller with workers on real sockets, and the page's services before it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.web.chat_service import Services
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.web.conftest import MakeServices


class RecordingEcho(EchoEngine):
    """An echo engine that remembers what it was asked."""

    def __init__(self, model_name: str) -> None:
        super().__init__(model_name)
        self.asked: list[GenerateRequest] = []

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.asked.append(request)
        async for delta in super().stream(request):
            yield delta


@dataclass
class Cluster:
    """Workers of a controller, by their models."""

    registry: Registry
    address: str
    life: AsyncExitStack
    services: Services
    engines: dict[str, RecordingEcho] = field(default_factory=dict)
    lives: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def join(self, *models: str) -> None:
        for model in models:
            engine = self.engines[model] = RecordingEcho(model)
            worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id=model)
            life = self.lives[model] = await self.life.enter_async_context(AsyncExitStack())
            app = build_app(worker, max_body_bytes=1_000_000)
            address = await life.enter_async_context(serving.served(app))
            now = asyncio.get_running_loop().time()
            self.registry.register(
                address, worker.status(worker.engine.card), now=now, expires=False
            )
        await self.services.link.poll()

    async def crash(self, model: str) -> None:
        """End a worker without a word to the controller."""
        await self.lives[model].aclose()


@pytest.fixture
async def cluster(make_services: MakeServices) -> AsyncIterator[Cluster]:
    registry = Registry(shortest_queue)
    app = build_controller(registry, AdmissionPolicy("the-token", frozenset()))
    async with serving.served(app) as address, AsyncExitStack() as life:
        services = make_services(address)
        life.callback(services.store.close)
        await life.enter_async_context(services.link.opened())
        yield Cluster(registry, address, life, services)
