"""A run that is killed goes on where it ended; one whose servers are killed waits for others."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llava_serve.evaluation.run_folder import RunFolder
from tests.e2e.test_losses import Stack
from tests.evaluation.answering import Answering, read_lines, text_of, write_texts
from tests.until import bounded, until

pytestmark = pytest.mark.slow

QUESTIONS, HELD_FROM, AT_ONCE = 60, 30, 4
Process = asyncio.subprocess.Process


@asynccontextmanager
async def evaluating(data: Path, out: Path, address: str, *more: str) -> AsyncIterator[Process]:
    flags = ("--task", "jsonl", "--data", str(data), "--out", str(out), "--controller", address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llava_serve.evaluate", *flags, *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Held(Answering):
    """Answers the first questions, and holds the others until it is let go."""

    def __init__(self) -> None:
        super().__init__(self._held)
        self.may_go_on = asyncio.Event()

    async def _held(self, body: dict[str, Any]) -> str:
        if len(self.asked) > HELD_FROM:
            await self.may_go_on.wait()
        return text_of(body)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
async def test_a_run_that_is_ended_asks_nothing_twice_but_what_was_in_flight(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    data, out, answering = write_texts(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "run", Held()
    flags = ("--concurrency", str(AT_ONCE))
    async with answering.served() as address, bounded("both runs"):
        async with evaluating(data, out, address, *flags) as first:
            await until(lambda: answering.at_once == AT_ONCE)
            await until(lambda: len(read_lines(out / "answers.jsonl")) == HELD_FROM)
            in_flight = set(answering.texts[-AT_ONCE:])
            first.send_signal(number)
            _, told = await first.communicate()
            assert first.returncode == code
            assert (b"goes on" in told) == (number == signal.SIGINT)
        answering.may_go_on.set()
        async with evaluating(data, out, address, *flags) as second:
            assert await second.wait() == 0
    counts = Counter(answering.texts)
    assert len(counts) == QUESTIONS
    assert {text for text, count in counts.items() if count == 2} == in_flight
    assert max(counts.values()) == 2
    assert len(read_lines(RunFolder(out).graded("original"))) == QUESTIONS


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with aiohttp.ClientSession(trust_env=False) as session, AsyncExitStack() as alive:
        yield Stack(tmp_path, session, alive)


async def some_answered(out: Path) -> None:
    answers = out / "answers.jsonl"
    await until(lambda: answers.exists() and len(read_lines(answers)) >= 5)


async def test_a_worker_that_is_killed_costs_no_answer(stack: Stack, tmp_path: Path) -> None:
    data, out = write_texts(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "run"
    await stack.start_controller()
    workers = [await stack.start_worker(0.1) for _ in range(2)]
    async with bounded("the end"):
        await stack.joined(2)
        async with evaluating(data, out, stack.address) as run:
            await some_answered(out)
            workers[0].kill()
            assert await run.wait() == 0
    assert all(line["credit"] == 1 for line in read_lines(RunFolder(out).graded("original")))


async def test_a_cluster_that_is_killed_is_waited_for(stack: Stack, tmp_path: Path) -> None:
    data, out = write_texts(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "run"
    processes = [await stack.start_controller(), await stack.start_worker(0.1)]
    async with bounded("the end"):
        await stack.joined(1)
        async with evaluating(data, out, stack.address) as run:
            await some_answered(out)
            for process in processes:
                process.kill()
                await process.wait()
            await stack.start_controller()
            await stack.start_worker(0.01)
            assert await run.wait() == 0
    assert all(line["credit"] == 1 for line in read_lines(RunFolder(out).graded("original")))


async def test_a_cluster_that_stays_away_ends_the_run_without_a_failed_question(
    stack: Stack, tmp_path: Path
) -> None:
    data, out = write_texts(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "run"
    controller = await stack.start_controller()
    await stack.start_worker(0.1)
    async with bounded("the end"):
        await stack.joined(1)
        async with evaluating(data, out, stack.address, "--patience", "1") as run:
            await some_answered(out)
            controller.kill()
            _, told = await run.communicate()
    assert run.returncode == 2
    assert b"no question was answered for" in told
    assert b"The same command goes on" in told
    assert all("failure" not in line for line in read_lines(RunFolder(out).answers("original")))
