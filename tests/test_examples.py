"""The examples of the API run as they stand, against a controller and workers."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llava_serve.api_key import ApiKey
from llava_serve.checkpoints.load import load
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import ControllerConfig, MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import KeyRefused
from llava_serve.http.access import Access
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.request import Conversation
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.clients.node import NODE

EXAMPLES = Path(__file__).parents[1] / "scripts" / "examples"
HISTORIES = sorted(EXAMPLES.glob("history_*.py"))
INTERPRETERS = {".py": sys.executable, ".sh": "bash", ".mjs": str(NODE)}
PROGRAMS = sorted(one for one in EXAMPLES.glob("ask*") if one.suffix in INTERPRETERS)
PAGES = sorted(EXAMPLES.glob("ask*.html"))  # which a browser tries in e2e/
TOKEN, KEY = "the-token", "sk-good"


class Recording(EchoEngine):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.asked: list[Any] = []

    def stream(self, request: Any) -> Any:
        self.asked.append(request.prompt)
        return super().stream(request)


async def find_key(text: str) -> ApiKey:
    if text != KEY:
        raise KeyRefused("unknown")
    return ApiKey(id="u", name="alice")


@asynccontextmanager
async def stack_of(engine: Engine) -> AsyncIterator[str]:
    """Serve an engine behind a controller that asks for a key."""
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="this-one")
    registry = Registry(shortest_queue)
    access = Access(token=TOKEN, find_key=find_key)
    app = build_controller(registry, AdmissionPolicy(TOKEN), ControllerSettings(access=access))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(
            served(build_app(worker, max_body_bytes=1_000_000))
        )
        registry.register(address, worker.status(engine.card), now=0, expires=False)
        yield await stack.enter_async_context(served(app))


async def run(example: Path, *arguments: str) -> tuple[int | None, str, str]:
    interpreter = shutil.which(INTERPRETERS[example.suffix])
    assert interpreter is not None, f"there is no {INTERPRETERS[example.suffix]}"
    program = await asyncio.create_subprocess_exec(
        interpreter,
        str(example),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await program.communicate()
    return program.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("example", HISTORIES, ids=lambda path: path.stem)
async def test_an_example_runs_and_its_answers_come_back(example: Path) -> None:
    engine = Recording()
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="this-one")
    async with served(build_app(worker, max_body_bytes=1_000_000)) as address:
        code, out, errors = await run(example, address)
    answers = out.splitlines()
    assert (code, errors) == (0, "")
    first, second = engine.asked
    assert isinstance(second, Conversation)
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert second.messages[0] == first.messages[0]
    assert second.messages[1].parts == (answers[0],)
    assert "What color is the circle?" in answers[1]


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda path: path.name)
async def test_a_program_asks_about_a_picture(example: Path) -> None:
    async with stack_of(EchoEngine("echo")) as address:
        code, out, errors = await run(example, address, KEY)
    assert (code, errors) == (0, "")
    words = ("[1 ", "What ", "color ", "is ", "the ", "circle?")
    shown = [f'"content":"{word}"' for word in words] if example.suffix == ".sh" else words
    assert [word for word in shown if word not in out] == []


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda path: path.name)
async def test_a_program_says_what_is_wrong(example: Path) -> None:
    async with stack_of(EchoEngine("echo")) as address:
        code, out, errors = await run(example, address, "sk-bad")
    assert code not in (0, None)
    assert "the API key is unknown" in out + errors
    assert "Send another key" in out + errors


@pytest.mark.slow
async def test_the_checkpoint_that_ships_answers_all_of_them() -> None:
    loaded = await asyncio.to_thread(load, ModelConfig(device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=2))
    async with stack_of(engine) as address:
        for example in PROGRAMS:
            code, out, errors = await run(example, address, KEY)
            assert (code, errors) == (0, "")
            assert "red" in out
    engine.close()


@pytest.mark.parametrize("example", [*HISTORIES, *PROGRAMS, *PAGES], ids=lambda path: path.name)
def test_an_example_asks_the_controller_where_no_address_is_given(example: Path) -> None:
    assert f"http://localhost:{ControllerConfig().port}" in example.read_text("utf-8")
