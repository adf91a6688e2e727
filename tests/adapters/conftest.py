"""A controller and a whole worker on real sockets, both asked by the clients of other protocols."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.storage.kept_responses import KeptResponses
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

TOKEN = "the-token"


@dataclass
class Stack:
    """Addresses of a running controller and of its one worker."""

    controller: str
    worker: str
    gate: Gate


@asynccontextmanager
async def stack_of(
    engine: Engine,
    keep_alive_s: float = 5.0,
    responses: KeptResponses | None = None,
    files: FileStore | None = None,
) -> AsyncIterator[Stack]:
    gate = Gate(4, 4)
    worker = ModelWorker(engine, gate, MediaReader(MediaConfig()), worker_id="w")
    registry = Registry(shortest_queue)
    app = build_worker(worker, max_body_bytes=10**7, keep_alive_s=keep_alive_s)
    settings = ControllerSettings(responses=responses, files=files)
    async with (
        served(app) as address,
        served(build_app(registry, AdmissionPolicy(TOKEN), settings)) as controller,
    ):
        registry.register(address, worker.status(engine.card), asyncio.get_running_loop().time())
        yield Stack(controller, address, gate)


@pytest.fixture
def echo() -> EchoEngine:
    return EchoEngine("echo")


@pytest.fixture
async def stack(echo: EchoEngine) -> AsyncIterator[Stack]:
    async with stack_of(echo) as running:
        yield running


@pytest.fixture(params=["controller", "worker"])
def address(stack: Stack, request: pytest.FixtureRequest) -> str:
    """Where a client asks: the same code answers at both."""
    address: str = getattr(stack, request.param)
    return address


@pytest.fixture(scope="module")
def llava_tiny() -> Iterator[Engine]:
    engine = build_engine(ModelConfig(), slots=4)
    yield engine
    engine.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptResponses]:
    kept = KeptResponses(f"sqlite:///{tmp_path / 'responses.sqlite'}", days=1.0)
    kept.create_tables()
    yield kept
    kept.close()


def png_of(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
