"""A controller, workers and the page on real sockets, and a real Chromium before them."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from playwright.async_api import Error as PlaywrightError

from llava_serve import serving
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.dispatch import shortest_queue
from llava_serve.cluster.door import Trust
from llava_serve.cluster.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Delta, GenerateRequest
from llava_serve.engines.echo import EchoEngine
from llava_serve.media.reader import MediaReader
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import NewTurn, Store, default_url
from llava_serve.web import examples, uploads
from llava_serve.web.app import build_app as build_page
from llava_serve.web.asking import Services
from llava_serve.web.controller_link import ControllerLink
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import Worker

TOKEN = "the-token"
expect.set_options(timeout=120_000)  # a busy machine is slow, not wrong
# Gradio's statistics of its queue still use what pandas 3 has deprecated.
GRADIO_AND_PANDAS = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting'", "ignore:The copy keyword is deprecated"
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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

    def add_turns(self, conversation_id: str, kind: str, turns: Sequence[NewTurn]) -> list[int]:
        ids = super().add_turns(conversation_id, kind, turns)
        if any(turn.role == "assistant" for turn in turns):
            self._loop.call_soon_threadsafe(self.answered.set)
        return ids


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
        engine = WatchedEcho(model, delay_s)
        worker = Worker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id=model)
        app = build_worker(worker, max_body_bytes=50_000_000)
        life = await self.joined.enter_async_context(AsyncExitStack())
        address = await life.enter_async_context(serving.served(app))
        now = asyncio.get_running_loop().time()
        self.registry.register(address, worker.status(worker.engine.card), now=now, expires=False)
        self.engines[model], self.addresses[model], self.lives[model] = engine, address, life
        return engine

    async def crash(self, model: str) -> None:
        """End a worker without a word to the controller."""
        await self.lives[model].aclose()

    def leave(self, model: str) -> None:
        self.registry.deregister(self.addresses[model])


@asynccontextmanager
async def page_served(controller: str, state_dir: Path) -> AsyncIterator[tuple[str, WatchedStore]]:
    """Serve the page alone; yield its address and what it keeps conversations in."""
    store = WatchedStore(default_url(state_dir))
    store.create_tables()
    uploads.use_folder(state_dir / "uploads")
    services = Services(
        link=ControllerLink(controller),
        store=store,
        media=MediaStore(state_dir / "media", 20_000_000),
        moderation=None,
        max_body_bytes=50_000_000,
    )
    page = build_page(services, examples=examples.load(state_dir / "examples", services.media))
    async with serving.served(page.app, page.before_stop) as address:
        yield address, store


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page sets where Gradio keeps uploads; a test must not leave it set."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")


@pytest.fixture
async def stack(tmp_path: Path, shapes: Path) -> AsyncIterator[Stack]:
    folder = tmp_path / "examples"
    folder.mkdir()
    shutil.copy(shapes, folder / "shapes.png")
    (folder / "examples.json").write_text(
        '[{"files": ["shapes.png"], "question": "How many shapes are there?", "answer": "Two."}]'
    )
    registry = Registry(shortest_queue)
    controller_app = build_controller(registry, Trust(TOKEN, frozenset()))
    async with (
        serving.served(controller_app) as controller,
        page_served(controller, tmp_path) as (page, store),
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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=ARGUMENTS
            )
        except PlaywrightError as exc:
            pytest.fail(
                "no Chromium can be started: install the package `chromium`, or run "
                f"`python -m playwright install chromium`. {exc.message.splitlines()[0]}"
            )
        yield browser
        await browser.close()


@dataclass
class Tab:
    """One browser tab on the page; `name` is `chat` or `compare`."""

    page: Page
    foreign: list[str]
    name: str = "chat"

    async def ask(self, text: str, *files: Path) -> None:
        if files:
            chooser = self.page.locator(f"#{self.name}-composer input[type=file]")
            await chooser.set_input_files(list(files))
            await expect(self.composer.locator(".thumbnail-item")).to_have_count(len(files))
        await self.textbox.fill(text)
        await self.textbox.press("Enter")

    async def compare(self) -> None:
        await self.page.get_by_role("tab", name="Compare").click()
        self.name = "compare"

    @property
    def composer(self) -> Locator:
        return self.page.locator(f"#{self.name}-composer")

    @property
    def textbox(self) -> Locator:
        return self.composer.locator("textarea")

    @property
    def transcript(self) -> Locator:
        return self.page.locator(f"#{self.name}-transcript")

    @property
    def answers(self) -> Locator:
        return self.transcript.locator(".turn.assistant")

    @property
    def model(self) -> Locator:
        return self.page.locator("#chat-model input")

    @property
    def stop_button(self) -> Locator:
        return self.composer.locator("button.stop-button")

    async def answered(self, count: int = 1) -> None:
        """Wait until `count` answers have ended and the next question may be asked."""
        ended = self.page.locator(f"#{self.name}-history .turn.assistant")
        await expect(ended).to_have_count(count)
        await expect(self.composer.locator("button.submit-button")).to_be_visible()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, size: tuple[int, int] = (1280, 800)
) -> AsyncIterator[Tab]:
    """Open a tab of its own context; `size` is (width, height)."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(120_000)
    page = await context.new_page()
    foreign: list[str] = []
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else foreign.append(request.url)
        ),
    )
    await page.goto(url)
    yield Tab(page, foreign)
    await context.close()


@pytest.fixture
async def tab(stack: Stack, browser: Browser) -> AsyncIterator[Tab]:
    """A tab at 1280 pixels, on a stack whose only model is `echo`."""
    await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page) as one:
        await expect(one.model).to_have_value("echo")
        yield one
