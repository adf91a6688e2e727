"""Processes that are killed or stopped in mid-answer, and what becomes of what they were asked."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import anyio
import pytest

from llava_serve.client import ChatClient
from llava_serve.errors import ControllerLost, ControllerUnreachable, RemoteError
from tests.e2e.test_cli import PROMPT_BEGINS, PROMPT_ENDS, at_terminal
from tests.ports import free_port

pytestmark = pytest.mark.slow

Process = asyncio.subprocess.Process
WORDS = "one two three four five six seven eight nine ten eleven twelve"


@asynccontextmanager
async def running(
    *arguments: str, stderr: int | IO[str] = asyncio.subprocess.DEVNULL
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, stderr=stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Stack:
    """A controller and workers of one model, each a process."""

    def __init__(self, state: Path, session: aiohttp.ClientSession, alive: AsyncExitStack) -> None:
        self.state, self._alive = str(state), alive
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.session = session
        self.client = ChatClient(self.address, session)

    async def start_controller(self, *more: str) -> Process:
        flags = ("--port", str(self._port), "--state-dir", self.state, *more)
        return await self._started("llava_serve.controller", *flags)

    async def start_worker(self, delay_s: float) -> Process:
        flags = ("echo", str(free_port()), self.address, self.state, str(delay_s), "2")
        return await self._started("tests.e2e.test_page.slow_worker", *flags)

    async def joined(self, count: int) -> None:
        await until(lambda: self.counts(count))

    async def accepted(self, asked: Sequence["asyncio.Task[Any]"]) -> bool:
        """Tell whether each request is at a worker, or answered."""
        async with self.session.get(self.address + "/workers") as answer:
            at_workers: int = sum(worker["in_flight"] for worker in await answer.json())
        return at_workers + sum(task.done() for task in asked) >= len(asked)

    async def metric(self, name: str) -> float:
        async with self.session.get(self.address + "/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def counts(self, least: int) -> bool:
        try:
            async with self.session.get(self.address + "/health") as answer:
                return int((await answer.json())["workers"]) >= least
        except aiohttp.ClientError:
            return False

    async def _started(self, *arguments: str) -> Process:
        return await self._alive.enter_async_context(running(*arguments))


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(60):
        while not await is_so():  # noqa: ASYNC110 - other processes announce nothing
            await asyncio.sleep(0.05)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with (
        aiohttp.ClientSession(
            trust_env=False, connector=aiohttp.TCPConnector(limit=0), timeout=_PATIENT
        ) as session,
        AsyncExitStack() as alive,
    ):
        stack = Stack(tmp_path, session, alive)
        yield stack


_PATIENT = aiohttp.ClientTimeout(total=300)


def body(number: int) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": f"{number} {WORDS}"}]}


class Stream:
    """One question, what came of it, and how it ended."""

    def __init__(self, number: int) -> None:
        self.asked = f"{number} {WORDS}"
        self.text = ""
        self.error: RemoteError | None = None
        self.has_text = asyncio.Event()
        self._body = body(number)

    async def run(self, client: ChatClient) -> None:
        try:
            async with aclosing(client.stream(self._body)) as chunks:
                async for chunk in chunks:
                    self.text += "".join(one.delta.content or "" for one in chunk.choices)
                    if self.text:
                        self.has_text.set()
        except RemoteError as exc:
            self.error = exc


async def whole(stack: Stack, number: int) -> str:
    url = stack.address + "/v1/chat/completions"
    async with stack.session.post(url, json=body(number)) as answer:
        content = await answer.json()
    return str(content["choices"][0]["message"]["content"])


async def old(stack: Stack, prompt: str) -> str:
    url = stack.address + "/worker_generate_stream"
    asked = {"model": "echo", "prompt": prompt, "max_new_tokens": 99}
    async with stack.session.post(url, json=asked) as answer:
        last = (await answer.read()).split(b"\0")[-2]
    return str(json.loads(last)["text"])


@pytest.mark.parametrize(
    ("flags", "most"),
    [
        pytest.param((), 0, id="resumed"),
        pytest.param(("--no-resume",), 2, id="not resumed"),  # the slots of a worker
    ],
)
async def test_of_80_streams_at_two_workers_a_killed_one_loses_only_what_had_sent_text(
    stack: Stack, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], most: int
) -> None:
    await stack.start_controller(*flags)
    doomed, _ = await stack.start_worker(0.04), await stack.start_worker(0.04)
    await stack.joined(2)
    streams = [Stream(number) for number in range(80)]
    running = [asyncio.create_task(stream.run(stack.client)) for stream in streams]
    await until(lambda: _are_answering(streams, 4))  # both workers are at both their slots
    wholes = [asyncio.create_task(whole(stack, number)) for number in range(4)]
    olds = [asyncio.create_task(old(stack, f"{number} {WORDS} ")) for number in range(4)]
    asked: list[asyncio.Task[Any]] = [*running, *wholes, *olds]
    await until(lambda: stack.accepted(asked))
    doomed.kill()
    await asyncio.gather(*running)
    whole_answers = [stream for stream in streams if stream.error is None]
    lost = [stream for stream in streams if stream.error is not None]
    before_text = [stream for stream in lost if not stream.text]
    with capsys.disabled():  # the numbers are the point, and not for failures only
        sys.stdout.write(
            f"\n{len(streams)} streams: {len(whole_answers)} answered whole, "
            f"{len(lost) - len(before_text)} lost after text, {len(before_text)} lost before text\n"
        )
    assert len(before_text) == 0
    assert {stream.error.code for stream in lost if stream.error} <= {"worker_lost"}
    told = await asyncio.gather(*olds)
    lost_olds = sum(told[number] != f"{number} {WORDS} {number} {WORDS}" for number in range(4))
    assert len(lost) + lost_olds <= most
    assert [stream.text for stream in whole_answers] == [stream.asked for stream in whole_answers]
    assert await asyncio.gather(*wholes) == [f"{number} {WORDS}" for number in range(4)]


async def _are_answering(streams: list[Stream], count: int) -> bool:
    return sum(stream.has_text.is_set() for stream in streams) >= count


async def test_a_stopped_controller_ends_what_outlives_its_grace_with_an_error(
    stack: Stack,
) -> None:
    controller = await stack.start_controller()
    await stack.start_worker(3.0)
    await stack.joined(1)
    stream = Stream(1)
    asking = asyncio.create_task(stream.run(stack.client))
    await stream.has_text.wait()
    controller.send_signal(signal.SIGTERM)
    await asking
    assert stream.error is not None
    assert stream.error.code == "interrupted"
    assert stream.asked.startswith(stream.text)
    with anyio.fail_after(10):
        assert await controller.wait() in (0, -signal.SIGTERM)


async def test_a_killed_controller_is_named_with_what_to_do(stack: Stack) -> None:
    controller = await stack.start_controller()
    await stack.start_worker(0.2)
    await stack.joined(1)
    stream = Stream(1)
    asking = asyncio.create_task(stream.run(stack.client))
    await stream.has_text.wait()
    controller.kill()
    with pytest.raises(ControllerLost, match="the connection was closed") as lost:
        await asking
    assert "What was answered so far is valid; ask again" in lost.value.remedy
    with pytest.raises(ControllerUnreachable):
        await Stream(2).run(stack.client)


async def test_the_terminal_says_that_the_controller_was_lost_and_asks_again(stack: Stack) -> None:
    controller = await stack.start_controller()
    await stack.start_worker(0.2)
    await stack.joined(1)
    async with at_terminal("--controller", stack.address) as (terminal, _):
        await terminal.until(PROMPT_BEGINS)
        terminal.type(WORDS + "\r")
        await terminal.until(PROMPT_ENDS)
        await terminal.until("two three")
        controller.kill()
        await terminal.until(f"error: the controller at {stack.address} was lost in mid-answer")
        await terminal.until("What was answered so far is valid")
        await terminal.until("/again asks the question again")
        await stack.start_controller()
        await stack.joined(1)
        await terminal.until(PROMPT_BEGINS)
        terminal.type("/again\r")
        await terminal.until(PROMPT_ENDS)
        await terminal.until(WORDS)
