"""A worker with an echo engine on a real socket, and the page's services before it."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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

HTML = "<img src=http://127.0.0.1:9/x onerror=alert(1)>"
MODEL_TEXT = "**bold** ![x](http://127.0.0.1:9/y.png) <script>alert(2)</script>"


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


@pytest.fixture
def image_uri(tmp_path: Path) -> str:
    Image.new("RGB", (6, 4), (200, 0, 0)).save(tmp_path / "dot.png")
    return "data:image/png;base64," + base64.b64encode((tmp_path / "dot.png").read_bytes()).decode()


@pytest.fixture
def saved(image_uri: str) -> dict[str, Any]:
    """A comparison as the page saves it."""
    first = {"model": "a", "text": MODEL_TEXT, "state": "done", "finish_reason": "stop"}
    failed = {"code": "worker_lost", "message": "the worker is gone", "remedy": "Ask again."}
    second = {"model": "b", "text": "cut", "state": "failed", "error": failed}
    counted = {"prompt_tokens": 3, "completion_tokens": 2, "tokens_per_s": 4.5}
    return {
        "format": "llava_serve conversation",
        "version": 1,
        "kind": "compare",
        "title": f"Title {HTML}",
        "created_at": "2026-01-31T12:00:00+00:00",
        "parameters": {"temperature": 0.5, "seed": 7, "system": "be brief"},
        "exchanges": [
            {
                "question": f"What is\n{HTML}?",
                "files": [{"name": 'd"ot<.png', "url": image_uri}],
                "answers": [first | counted | {"time_to_first_token_s": 0.25}, second],
            }
        ],
    }
