"""A controller with the checkpoint that ships, one with tools and a slow model, for programs."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.checkpoints.tool_checkpoint import tool_checkpoint
from tests.until import until

PICTURE = Path(__file__).parents[2] / "llava_serve" / "tiny" / "examples" / "red-circle.png"
_PATIENCE_S = 240


@dataclass
class ClientStack:
    """A controller's address, and the engine of the slow model."""

    controller: str
    slow: EchoEngine

    async def run(self, *command: str | Path) -> dict[str, dict[str, Any]]:
        """Run a program of a client; return the facts it told, by what it tried.

        Raises:
            AssertionError: it failed, and what it said is in the text.
        """
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            self.controller,
            str(PICTURE),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_PATIENCE_S):
                out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode(errors="replace")[-4000:]
        told = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
        return {facts.pop("tried"): facts for facts in told}

    async def slow_is_idle(self) -> None:
        """Wait until nothing of the slow model's answers is made any more."""
        await until(lambda: not self.slow.running, "the end of what was cancelled")


async def join(stack: AsyncExitStack, registry: Registry, engine: Engine) -> None:
    gate = Gate(engine.slots, max_waiting=50)
    worker = ModelWorker(engine, gate, MediaReader(MediaConfig()), secrets.token_hex(4))
    app = build_worker(worker, max_body_bytes=50_000_000)
    address = await stack.enter_async_context(serving.served(app))
    now = asyncio.get_running_loop().time()
    registry.register(address, worker.status(engine.card), now=now, expires=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClientStack]:
    registry = Registry(DISPATCH["shortest_queue"])
    tiny = build_engine(ModelConfig(), slots=4)
    folder = tool_checkpoint(tmp_path_factory.mktemp("clients") / "tools")
    calling = build_engine(ModelConfig(model_path=str(folder), model_name="tools"), slots=2)
    slow = EchoEngine("slow", delay_s=0.2)
    async with AsyncExitStack() as stack:
        stack.callback(tiny.close)
        stack.callback(calling.close)
        app = build_controller(registry, AdmissionPolicy("clients"))
        controller = await stack.enter_async_context(serving.served(app))
        for engine in (tiny, calling, slow):
            await join(stack, registry, engine)
        yield ClientStack(controller, slow)
