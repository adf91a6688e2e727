"""A worker with an echo engine on a real socket, and the page's services before it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.web import uploads
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.controller_link import ControllerLink
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker


async def settled(conversation: ChatState) -> int:
    """Wait until nothing runs; return how many times there was something new meanwhile."""
    beats = 0
    while True:
        pulse = conversation.pulse
        if not conversation.is_busy:
            return beats
        await pulse.wait()
        beats += 1


@pytest.fixture
def engine() -> EchoEngine:
    """A worker speaks the wire of a controller, so one worker is controller enough here."""
    return EchoEngine("echo", delay_s=0.01)


@pytest.fixture
async def controller(engine: EchoEngine) -> AsyncIterator[str]:
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="one")
    async with serving.served(build_app(worker, max_body_bytes=1_000_000)) as address:
        yield address


@pytest.fixture
def upload_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder Gradio keeps uploads in during a test."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back afterwards
    uploads.use_folder(tmp_path / "uploads")
    return tmp_path / "uploads"


MakeServices = Callable[[str], Services]


@pytest.fixture
def make_services(tmp_path: Path, upload_folder: Path) -> MakeServices:
    def make(address: str) -> Services:
        store = Store(default_url(tmp_path))
        store.create_tables()
        return Services(
            link=ControllerLink([address]),
            store=store,
            media=MediaStore(tmp_path / "media", 1_000_000),
            moderation=None,
            max_body_bytes=1_000_000,
        )

    return make


@pytest.fixture
async def services(controller: str, make_services: MakeServices) -> AsyncIterator[Services]:
    """Services whose link is open and has asked for the models once."""
    services = make_services(controller)
    async with AsyncExitStack() as stack:
        stack.callback(services.store.close)
        await stack.enter_async_context(services.link.opened())
        await services.link.poll()
        yield services
