"""A whole stack, each process held to 2 GB and 1024 files, under every abuse at once."""

import asyncio
import base64
import io
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

LIMIT_BYTES = 2_000_000_000
# Data: what a process has written or may write, which is what a machine runs out of.
LIMITS = f"ulimit -Sd {LIMIT_BYTES // 1024}; ulimit -n 1024; exec "
SECONDS = 15.0
MODEL = "llava-tiny"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Stack:
    """Controller, worker and page as processes of their own."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.processes: dict[str, psutil.Process] = {}
        self.addresses = {
            name: f"http://127.0.0.1:{free_port()}"
            for name in ("controller", "model_worker", "gradio_web_server")
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in self.addresses:
                await stack.enter_async_context(self._process(name))
            yield

    @asynccontextmanager
    async def _process(self, name: str) -> AsyncIterator[None]:
        command = [sys.executable, "-m", f"llava_serve.{name}", "--state-dir", str(self._state)]
        command += ["--port", self.addresses[name].rpartition(":")[2], "--log-level", "warning"]
        if name == "model_worker":
            command += ["--max-megapixels-in-flight", "100"]  # as the README advises for 2 GB
        if name != "controller":
            command += ["--controller", self.addresses["controller"]]
        process = await asyncio.create_subprocess_exec("bash", "-c", LIMITS + '"$@"', "-", *command)
        self.processes[name] = psutil.Process(process.pid)
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    def used(self) -> dict[str, int]:
        """Return the resident memory of each process, in bytes."""
        return {name: process.memory_info().rss for name, process in self.processes.items()}

    async def ask(self, *media: dict[str, Any]) -> int:
        """Ask a question over a connection of its own; return the status."""
        content = [*media, {"type": "text", "text": "What color is it?"}]
        said = [{"role": "user", "content": content}]
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 16, "messages": said}
        url = self.addresses["controller"] + "/v1/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
            await answer.read()
            return answer.status

    async def visit(self) -> None:
        """Open a connection to each server, ask for its health, and stay for a moment."""
        async with aiohttp.ClientSession() as session:
            for address in self.addresses.values():
                async with session.get(address + "/health") as answer:
                    assert answer.status == 200
            await asyncio.sleep(1)

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session:
                page = await session.get(self.addresses["gradio_web_server"] + "/health")
                return page.status == 200 and await self.ask() == 200
        except aiohttp.ClientError:
            return False


def photo(width: int) -> dict[str, Any]:
    """Return a picture of 12 megapixels, as phones take them."""
    file = io.BytesIO()
    Image.new("RGB", (width, 3000), "teal").save(file, "JPEG")
    url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


async def settled(stack: Stack, most: dict[str, float], seconds: int) -> dict[str, int]:
    """Return what is used once it is no more than `most`, or after `seconds`."""
    for _ in range(2 * seconds):
        used = stack.used()
        if most and all(used[name] <= bytes_ for name, bytes_ in most.items()):
            break
        await asyncio.sleep(0.5)
    return stack.used()


async def test_nothing_dies_nobody_is_kept_out_and_the_memory_comes_back(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    async with stack.running():
        while not await stack.is_ready():
            assert all(process.is_running() for process in stack.processes.values())
            await asyncio.sleep(0.2)
        # A busy moment of good people first: the KV cache and what is loaded late stay.
        for _ in range(2):
            photos = [photo(width) for width in range(4000, 4016)]
            assert set(await asyncio.gather(*map(stack.ask, photos))) == {200}
            await asyncio.gather(*(stack.visit() for _ in range(300)))
        before = await settled(stack, {}, 20)
        assert await abused(stack, SECONDS) == {200}
        for name, process in stack.processes.items():
            assert process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD), name
        used = await settled(stack, {name: 1.1 * n for name, n in before.items()}, 60)
        for name, size in before.items():
            assert used[name] <= 1.1 * size, f"{name}: {size} before, {used[name]} after"
        assert await stack.ask() == 200


async def abused(stack: Stack, seconds: float) -> set[int]:
    """Abuse the stack; return what a healthy client was answered meanwhile."""
    command = [sys.executable, "-m", "scripts.abuse", *stack.addresses.values()]
    command += ["--source", "127.0.0.2"]  # an address that the healthy client does not share
    process = await asyncio.create_subprocess_exec(
        *command,
        "--seconds",
        str(seconds),
        "--source",
        "127.0.0.2",
        stdout=asyncio.subprocess.DEVNULL,
    )
    statuses = set()
    while process.returncode is None:
        statuses.add(await stack.ask())
        await asyncio.sleep(0.1)
    assert process.returncode == 0
    return statuses
