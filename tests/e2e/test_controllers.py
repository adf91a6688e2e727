"""Two controllers on one Redis, each a process: what a kill, and a Redis that is away, change."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from redis.asyncio import Redis

from llava_serve.errors import ControllerLost
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.messages import CONTINUES
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import fill
from tests.e2e.test_losses import Process, running
from tests.ports import free_port
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow

WORDS = " ".join(f"word{i}" for i in range(60))
STREAMS = 50  # at each controller


class Controllers:
    """Controllers `a` and `b` with one registry, and workers that report to whom the test says."""

    def __init__(
        self, folder: Path, registry: str, session: aiohttp.ClientSession, alive: AsyncExitStack
    ) -> None:
        self._folder, self.registry = folder, registry
        self._session, self._alive = session, alive
        self._ports = {"a": free_port(), "b": free_port()}

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    async def start(self, name: str, *flags: str) -> Process:
        log = self._alive.enter_context((self._folder / f"{name}.log").open("w"))
        listen = ("--port", str(self._ports[name]), "--registry", self.registry)
        state = ("--state-dir", str(self._folder))
        command = ("llava_serve.controller", *listen, *state, *flags)
        return await self._alive.enter_async_context(running(*command, stderr=log))

    async def start_worker(self, *controllers: str, model: str = "echo") -> Process:
        known = ",".join(self.address(name) for name in controllers)
        flags = (model, str(free_port()), known, str(self._folder), "0.05", str(2 * STREAMS))
        module = "tests.e2e.test_page.slow_worker"
        return await self._alive.enter_async_context(running(module, *flags))

    async def know(self, name: str, models: Sequence[str], workers: int) -> None:
        """Wait until a controller serves these models with so many workers."""

        async def does() -> bool:
            address = self.address(name)
            try:
                async with self._session.get(f"{address}/v1/models") as answer:
                    listed = [card["id"] for card in (await answer.json())["data"]]
                async with self._session.get(f"{address}/health") as answer:
                    return (listed, (await answer.json())["workers"]) == (list(models), workers)
            except aiohttp.ClientError:
                return False

        await _until(does)

    async def at_workers(self, name: str) -> int:
        """Return how many answers a controller waits for, and the others with it."""
        async with self._session.get(self.address(name) + "/workers") as answer:
            return sum(worker["queue_length"] for worker in await answer.json())


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(90):
        while not await is_so():  # noqa: ASYNC110 - other processes announce nothing
            await asyncio.sleep(0.05)


@pytest.fixture
async def controllers(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Controllers]:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        AsyncExitStack() as alive,
    ):
        yield Controllers(tmp_path, redis_server.url, session, alive)


class Page:
    """What the page does with questions: it fills their replies, all at once."""

    def __init__(self, *addresses: str) -> None:
        self.link = ControllerLink(addresses)

    async def ask(self, count: int) -> list[StreamedReply]:
        replies = [StreamedReply("echo") for _ in range(count)]
        await self.fill(replies)
        return replies

    async def fill(self, replies: Sequence[StreamedReply]) -> None:
        await fill(self.link.client, [(one, _body(one)) for one in replies], lambda: None)


def _body(reply: StreamedReply) -> dict[str, Any]:
    """Ask, or ask to continue, as the page does."""
    messages = [{"role": "user", "content": WORDS}]
    if not reply.text:
        return {"model": reply.model, "messages": messages}
    said = {"role": "assistant", "content": reply.text}
    return {"model": reply.model, "messages": [*messages, said], CONTINUES: True}


def _have_text(replies: Sequence[StreamedReply], count: int) -> Callable[[], Awaitable[bool]]:
    async def have() -> bool:
        return sum(bool(reply.text) for reply in replies) >= count

    return have


async def test_a_killed_controller_takes_no_stream_of_the_other_and_the_page_goes_on(
    controllers: Controllers,
) -> None:
    doomed, _ = await controllers.start("a"), await controllers.start("b")
    await controllers.start_worker("a", "b")
    await controllers.start_worker("a")  # which b knows from the registry alone
    for name in ("a", "b"):
        await controllers.know(name, ["echo"], 2)
    page = Page(controllers.address("a"), controllers.address("b"))
    other_page = Page(controllers.address("b"))
    async with page.link.opened(), other_page.link.opened():
        theirs = [StreamedReply("echo") for _ in range(STREAMS)]
        ours = [StreamedReply("echo") for _ in range(STREAMS)]
        asking = [asyncio.create_task(other_page.fill(theirs))]
        asking.append(asyncio.create_task(page.fill(ours[: STREAMS // 2])))
        await _until(_have_text(theirs, STREAMS))
        await _until(_have_text(ours, STREAMS // 2))
        asking.append(asyncio.create_task(page.fill(ours[STREAMS // 2 :])))
        doomed.kill()  # while some have text, and some do not
        await asyncio.gather(*asking)
        assert [reply.text for reply in theirs] == [WORDS] * STREAMS
        lost = [reply for reply in ours if reply.error is not None]
        assert all(isinstance(reply.error, ControllerLost) for reply in lost)
        assert all(reply.text and WORDS.startswith(reply.text.strip()) for reply in lost)
        assert all(reply.can_continue for reply in lost)
        assert {reply.text for reply in ours if reply not in lost} == {WORDS}
        assert len(lost) >= STREAMS // 2
        await page.fill(lost)  # Continue
        assert [reply.text for reply in ours] == [WORDS] * STREAMS
        await page.link.poll()
        assert [card.id for card in page.link.cards] == ["echo"]


async def test_each_controller_counts_what_the_other_waits_for(controllers: Controllers) -> None:
    await controllers.start("a")
    await controllers.start("b")
    await controllers.start_worker("a")
    await controllers.know("b", ["echo"], 1)
    page = Page(controllers.address("a"))
    async with page.link.opened():
        asking = asyncio.create_task(page.ask(7))

        async def are_seen() -> bool:
            return await controllers.at_workers("b") == 7

        await _until(are_seen)
        await asking

        async def are_gone() -> bool:
            return await controllers.at_workers("b") == 0

        await _until(are_gone)


@pytest.mark.parametrize("ending", [signal.SIGSTOP, signal.SIGKILL])
async def test_without_redis_what_is_known_is_served_and_afterwards_all_is_known_to_all(
    controllers: Controllers, redis_server: RedisServer, ending: signal.Signals
) -> None:
    """The Redis that is started again is empty."""
    await controllers.start("a")
    await controllers.start("b")
    await controllers.start_worker("a")
    for name in ("a", "b"):
        await controllers.know(name, ["echo"], 1)
    page = Page(controllers.address("b"))
    async with page.link.opened():
        before = [StreamedReply("echo") for _ in range(5)]
        asking = asyncio.create_task(page.fill(before))
        await _until(_have_text(before, 5))
        redis_server.send(ending)

        async def is_noticed() -> bool:
            return all("working on without" in controllers.log(name) for name in ("a", "b"))

        await _until(is_noticed)
        await controllers.start_worker("b", model="later")
        await controllers.know("b", ["echo", "later"], 2)
        await controllers.know("a", ["echo"], 1)
        during = await page.ask(5)
        await asking
        assert [reply.text for reply in (*before, *during)] == [WORDS] * 10
        if ending is signal.SIGSTOP:
            redis_server.send(signal.SIGCONT)
        else:
            redis_server.start()
        for name in ("a", "b"):
            await controllers.know(name, ["echo", "later"], 2)
    for name in ("a", "b"):
        assert controllers.log(name).count("working on without") == 1
        assert controllers.log(name).count("the shared state answers again") == 1
        assert "Traceback" not in controllers.log(name)


async def test_a_controller_starts_without_its_redis(
    controllers: Controllers, redis_server: RedisServer
) -> None:
    redis_server.send(signal.SIGKILL)
    await controllers.start("a")
    await controllers.start_worker("a")
    await controllers.know("a", ["echo"], 1)
    redis_server.start()
    await controllers.start("b")
    await controllers.know("b", ["echo"], 1)


async def test_a_controller_with_another_token_is_another_cluster(
    controllers: Controllers, tmp_path: Path
) -> None:
    await controllers.start("a")
    (tmp_path / "other").write_text("other\n")
    await controllers.start("b", "--cluster-token-file", str(tmp_path / "other"))
    await controllers.start_worker("a")
    await controllers.know("a", ["echo"], 1)
    async with Redis.from_url(controllers.registry, decode_responses=True) as redis:

        async def both_have_written() -> bool:
            return len({str(key).partition("}")[0] for key in await redis.keys()}) == 2

        await _until(both_have_written)
    await controllers.know("b", [], 0)
