"""1,000 requests with pictures while workers are killed again and again: none is lost."""

import asyncio
import base64
import io
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from llava_serve.client import ChatClient
from llava_serve.errors import ServeError
from scripts.tiny.world import simple_image
from tests.e2e.test_losses import Stack, until
from tests.ports import free_port

pytestmark = pytest.mark.slow

REQUESTS, AT_ONCE, WORKERS = 1000, 8, 3
ANSWERS_PER_KILL = 50
PATIENCE_S = 300


def body(number: int) -> dict[str, Any]:
    """Return a question about a picture."""
    file = io.BytesIO()
    shape = ("circle", "square", "triangle")[number % 3]
    simple_image(shape, ("red", "blue")[number % 2], size=(96, 96)).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": f"{number % 7}. Describe the picture."},
    ]
    messages = [{"role": "user", "content": parts}]
    return {"model": "llava-tiny", "messages": messages, "temperature": 0, "max_tokens": 8}


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    lost_before_text: int = 0
    lost: list[ServeError] = field(default_factory=list)
    texts: dict[int, set[str]] = field(default_factory=dict)  # by question

    async def ask(self, client: ChatClient, number: int) -> None:
        text = ""
        try:
            async with aclosing(client.stream(body(number))) as chunks:
                async for chunk in chunks:
                    text += "".join(one.delta.content or "" for one in chunk.choices)
        except ServeError as exc:
            self.lost.append(exc)
            self.lost_before_text += not text
        else:
            self.texts.setdefault(number % 42, set()).add(text)
        self.answered += 1

    async def ask_all(self, client: ChatClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self.ask(client, number)


class Forked:
    """Workers forked from a process that has the checkpoint in memory, by port."""

    def __init__(self, parent: asyncio.subprocess.Process) -> None:
        self._parent = parent
        self.processes: dict[int, int] = {}

    async def fork(self, port: int) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{port}\n".encode())
        self.processes[port] = int(await self._parent.stdout.readline())

    def signal(self, port: int, number: signal.Signals) -> None:
        os.kill(self.processes[port], number)

    async def is_gone(self, port: int) -> bool:
        try:
            os.kill(self.processes[port], 0)
        except ProcessLookupError:
            return True
        return False


@asynccontextmanager
async def forked(stack: Stack) -> AsyncIterator[Forked]:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.forked_workers"),
        *(stack.address, stack.state, str(AT_ONCE)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    workers = Forked(parent)
    try:
        for _ in range(WORKERS):
            await workers.fork(free_port())
        yield workers
    finally:
        for port in workers.processes:
            if not await workers.is_gone(port):
                workers.signal(port, signal.SIGKILL)
        parent.kill()
        await parent.wait()


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        AsyncExitStack() as alive,
    ):
        stack = Stack(tmp_path, session, alive)
        await stack.start_controller()
        await until(lambda: stack.counts(0))
        yield stack


async def while_asking(
    stack: Stack, numbers: Iterator[int], disturb: Callable[[Tally], Coroutine[Any, Any, None]]
) -> Tally:
    """Ask all `numbers`, so many at once, while `disturb` runs; it ends when all are answered."""
    tally = Tally()
    with anyio.fail_after(PATIENCE_S):
        disturbing = asyncio.create_task(disturb(tally))
        await asyncio.gather(*(tally.ask_all(stack.client, numbers) for _ in range(AT_ONCE)))
        disturbing.cancel()
        await asyncio.wait([disturbing])
        if not disturbing.cancelled():
            disturbing.result()
    return tally


async def test_1000_requests_outlive_the_workers_they_are_at(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, kills = random.Random(14), 0
    async with forked(stack) as workers:
        await stack.joined(WORKERS)

        async def kill_again_and_again(tally: Tally) -> None:
            nonlocal kills
            while True:
                due = tally.answered + ANSWERS_PER_KILL
                await until(lambda due=due: _is(tally.answered >= due))  # type: ignore[misc]
                await stack.joined(WORKERS)
                port = chance.choice(list(workers.processes))
                workers.signal(port, signal.SIGKILL)
                kills += 1
                await until(lambda port=port: workers.is_gone(port))  # type: ignore[misc]
                await workers.fork(port)

        tally = await while_asking(stack, iter(range(REQUESTS)), kill_again_and_again)
        resumed = await stack.metric("llava_controller_resumed_total")
    with capsys.disabled():  # the numbers are the point, and not for failures only
        sys.stdout.write(
            f"\n{REQUESTS} requests, {kills} workers killed, {resumed:g} streams gone on with: "
            f"lost before first token {tally.lost_before_text}, lost in all {len(tally.lost)}\n"
        )
    assert tally.lost == []
    assert all(len(texts) == 1 for texts in tally.texts.values())
    assert kills >= 3
    assert resumed >= 1


async def _is(value: bool) -> bool:
    return value


async def test_a_rolling_restart_under_load_loses_nothing(stack: Stack) -> None:
    restarted = asyncio.Event()
    async with forked(stack) as workers:
        await stack.joined(WORKERS)

        async def restart_each(_: Tally) -> None:
            for port in list(workers.processes):
                workers.signal(port, signal.SIGTERM)
                await until(lambda port=port: workers.is_gone(port))  # type: ignore[misc]
                await workers.fork(port)
                await stack.joined(WORKERS)
            restarted.set()

        numbers = itertools.takewhile(lambda _: not restarted.is_set(), itertools.count())
        tally = await while_asking(stack, numbers, restart_each)
    assert tally.lost == []
    assert tally.answered > AT_ONCE
    assert all(len(texts) == 1 for texts in tally.texts.values())
