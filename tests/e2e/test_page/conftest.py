"""A controller, workers and the page on real sockets, and a tab of a real Chromium on them.

The tests of this folder share a Chromium and so an event loop: each asynchronous fixture has
`loop_scope="session"`, or what it serves would stand still while the test runs.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image, ImageDraw
from playwright.async_api import Browser, expect

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster_token import bearer
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.web import examples, uploads
from llava_serve.web.app import build_app as build_page
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.prices import Prices
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.operators.rights import NOBODY_OPERATES, Operators
from llava_serve.web.translations.language import BUNDLED, Languages
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.chromium import KeptChromium, Tab, opened
from tests.ports import free_port

TOKEN = "the-token"
DESK, PHONE = (1280, 800), (390, 844)
SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
TABS = pytest.mark.parametrize("tab", [DESK, PHONE], ids=["desk", "phone"], indirect=True)
# Gradio's statistics of its queue still use what pandas 3 has deprecated.
GRADIO_AND_PANDAS = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting'", "ignore:The copy keyword is deprecated"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and isinstance(item, pytest.Function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class WatchedEcho(EchoEngine):
    """An echo engine that says when it has nothing left to do."""

    def __init__(self, model_name: str, delay_s: float) -> None:
        super().__init__(model_name, delay_s)
        self.idle = asyncio.Event()

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.idle.clear()
        try:
            async with aclosing(super().stream(request)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self.idle.set()


class WatchedStore(Store):
    """A store that says when an answer was written down."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.answered = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def update_turn(self, turn_id: int, text: str, details: dict[str, Any]) -> None:
        super().update_turn(turn_id, text, details)
        if details["state"] not in ("waiting", "running"):
            self._loop.call_soon_threadsafe(self.answered.set)


@dataclass
class Stack:
    """The served stack; `join` and `leave` are a worker's coming and going."""

    registry: Registry
    controller: str
    page: str
    store: WatchedStore
    joined: AsyncExitStack
    engines: dict[str, WatchedEcho] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    lives: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def join(self, model: str, delay_s: float = 0.0) -> WatchedEcho:
        self.engines[model] = WatchedEcho(model, delay_s)
        await self.join_with(self.engines[model])
        return self.engines[model]

    async def join_with(self, engine: Engine) -> None:
        model = engine.card.id
        worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id=model)
        app = build_worker(worker, max_body_bytes=50_000_000)
        life = await self.joined.enter_async_context(AsyncExitStack())
        address = await life.enter_async_context(serving.served(app))
        now = asyncio.get_running_loop().time()
        self.registry.register(address, worker.status(worker.engine.card), now=now, expires=False)
        self.addresses[model], self.lives[model] = address, life

    async def crash(self, model: str) -> None:
        """End a worker without a word to the controller."""
        await self.lives[model].aclose()

    def leave(self, model: str) -> None:
        self.registry.deregister(self.addresses[model])


@asynccontextmanager
async def page_served(
    controller: str,
    state_dir: Path,
    logins: LoginSessions | None = None,
    operators: Operators = NOBODY_OPERATES,
    *,
    allow_sharing: bool = False,
    remote_media: MediaReader | None = None,
    port: int = 0,
    languages: Languages = BUNDLED,
    prices: Prices | None = None,
) -> AsyncIterator[tuple[str, WatchedStore]]:
    """Serve the page alone; yield its address and what it keeps conversations in."""
    store = WatchedStore(default_url(state_dir))
    store.create_tables()
    uploads.use_folder(state_dir / "uploads")
    services = Services(
        link=ControllerLink([controller], credentials=[lambda: bearer(TOKEN)]),
        store=store,
        media=MediaStore(state_dir / "media", 20_000_000),
        moderation=None,
        max_body_bytes=50_000_000,
        logins=logins,
        operators=operators,
        allow_sharing=allow_sharing,
        remote_media=remote_media,
        languages=languages,
        prices=prices,
    )
    page = build_page(services, examples=examples.load(state_dir / "examples", services.media))
    async with serving.served(page.app, page.before_stop, port) as address:
        yield address, store


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page sets where Gradio keeps uploads; a test must not leave it set."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")


@pytest.fixture(scope="session")
def page_port() -> int:
    """The port of each `stack`'s page in turn: a browser keeps compiled scripts by address."""
    return free_port()


@pytest_asyncio.fixture(loop_scope="session")
async def stack(tmp_path: Path, shapes: Path, page_port: int) -> AsyncIterator[Stack]:
    folder = tmp_path / "examples"
    folder.mkdir()
    shutil.copy(shapes, folder / "shapes.png")
    (folder / "examples.json").write_text(
        '[{"files": ["shapes.png"], "question": "How many shapes are there?", "answer": "Two."}]'
    )
    registry = Registry(shortest_queue)
    controller_app = build_controller(registry, AdmissionPolicy(TOKEN, frozenset()))
    async with (
        serving.served(controller_app) as controller,
        page_served(controller, tmp_path, port=page_port) as (page, store),
        AsyncExitStack() as joined,
    ):
        yield Stack(registry, controller, page, store, joined)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A red circle and a blue square."""
    image = Image.new("RGB", (320, 240), (235, 235, 240))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 60, 140, 160), fill=(200, 40, 40))
    draw.rectangle((190, 90, 280, 180), fill=(30, 90, 200))
    image.save(tmp_path / "shapes.png")
    return tmp_path / "shapes.png"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_chromium() -> AsyncIterator[KeptChromium]:
    kept = KeptChromium()
    yield kept
    await kept.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(kept_chromium: KeptChromium) -> AsyncIterator[Browser]:
    """The Chromium of all tests of this process; each has contexts, and so a memory, of its own."""
    browser = await kept_chromium.running()
    yield browser
    for context in browser.contexts[1:]:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(stack: Stack, browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Tab]:
    """A tab at 1280 pixels or of the size in `TABS`, on a stack whose only model is `echo`."""
    await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, getattr(request, "param", DESK)) as one:
        await expect(one.model).to_have_value("echo")
        yield one
