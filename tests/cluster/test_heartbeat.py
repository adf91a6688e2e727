"""A worker registers, stays and leaves, whatever the controller does meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from llava_serve.cluster.heartbeat import RegistrationClient, membership
from llava_serve.errors import ControllerUnreachable, RegistrationRefused
from tests.cluster.conftest import TOKEN, Cluster, EchoWorker, StartController, StartWorker, chat

UNREACHABLE = ControllerUnreachable("http://c:1", "connection refused")
REFUSED = RegistrationRefused("the token you sent is not this controller's")


class Script(RegistrationClient):
    """A client that answers from a list, and a `sleep` that the test lets pass."""

    def __init__(self, *answers: bool | Exception | None) -> None:
        self.controller = "http://c:1"
        self._answers = list(answers)
        self.calls: list[str] = []
        self.naps: list[float] = []
        self._slept = asyncio.Semaphore(0)
        self._asleep = asyncio.Semaphore(0)

    async def register(self) -> None:
        self._next("register")

    async def heartbeat(self) -> bool:
        return bool(self._next("heartbeat"))

    async def deregister(self) -> None:
        self.calls.append("deregister")

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._asleep.release()
        await self._slept.acquire()

    async def rounds(self, count: int) -> None:
        """Return when the worker sleeps for the `count`-th time from here."""
        for i in range(count):
            await self._asleep.acquire()
            if i < count - 1:
                self._slept.release()

    def _next(self, call: str) -> bool | None:
        self.calls.append(call)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_worker_registers_at_once_and_then_sends_heartbeats() -> None:
    script = Script(None, True, True)
    async with membership(script, 15, script.sleep):
        await script.rounds(3)
    assert script.calls == ["register", "heartbeat", "heartbeat", "deregister"]
    assert script.naps == [15, 15, 15]


async def test_a_worker_the_controller_does_not_know_registers_again_at_once() -> None:
    script = Script(None, False, None, True)
    async with membership(script, 15, script.sleep):
        await script.rounds(3)
    assert script.calls == ["register", "heartbeat", "register", "heartbeat", "deregister"]
    assert script.naps == [15, 15, 15]


async def test_a_controller_out_of_reach_is_tried_quickly_first_and_for_ever() -> None:
    script = Script(*[UNREACHABLE] * 8, None, UNREACHABLE, None)
    async with membership(script, 15, script.sleep):
        await script.rounds(11)
    assert script.naps == [0.5, 1, 2, 4, 8, 15, 15, 15, 15, 0.5, 15]


async def test_one_line_a_minute_says_that_the_controller_is_out_of_reach(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script(*[UNREACHABLE] * 9)
    async with membership(script, 15, script.sleep, lambda: sum(script.naps)):
        await script.rounds(9)
    assert sum(script.naps[:-1]) > 60
    assert caplog.text.count("connection refused") == 2


async def test_a_refusal_is_logged_with_its_reason_and_its_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script(UNREACHABLE, REFUSED, None)
    async with membership(script, 15, script.sleep):
        await script.rounds(3)
    assert REFUSED.message in caplog.text
    assert REFUSED.remedy in caplog.text
    assert script.calls == ["register", "register", "register", "deregister"]


async def test_a_refused_worker_does_not_sign_off_who_has_its_address() -> None:
    script = Script(REFUSED)
    async with membership(script, 15, script.sleep):
        await script.rounds(1)
    assert script.calls == ["register"]


async def test_a_worker_can_leave_before_its_work_ends() -> None:
    script = Script(None)
    async with membership(script, 15, script.sleep) as member:
        await script.rounds(1)
        await member.leave()
        assert script.calls == ["register", "deregister"]
    assert script.calls == ["register", "deregister"]


async def test_a_worker_leaves_when_its_server_fails() -> None:
    script = Script(None)
    with pytest.raises(RuntimeError, match="server"):
        async with membership(script, 15, script.sleep):
            await script.rounds(1)
            raise RuntimeError("server")
    assert script.calls[-1] == "deregister"


async def test_a_bug_in_the_heartbeat_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    script = Script(ZeroDivisionError())
    async with membership(script, 15, script.sleep):
        await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "heartbeat"])
    assert "ZeroDivisionError" in caplog.text


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


def client_of(
    session: aiohttp.ClientSession, controller: str, worker: EchoWorker, token: str = TOKEN
) -> RegistrationClient:
    return RegistrationClient(session, controller, worker.address, token, lambda: worker.status)


async def test_a_worker_joins_beats_and_leaves_over_http(
    cluster: Cluster, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    worker = await start_worker()
    client = client_of(session, cluster.address, worker)
    assert not await client.heartbeat()
    await client.register()
    worker.running = 3
    assert await client.heartbeat()
    assert [known.queue_length for known in cluster.workers.known()] == [3]
    await client.deregister()
    assert cluster.workers.known() == []


async def test_a_wrong_token_is_refused_at_every_call(
    cluster: Cluster, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    client = client_of(session, cluster.address, await start_worker(), token="wrong")
    for call in (client.register, client.heartbeat, client.deregister):
        with pytest.raises(RegistrationRefused, match="token"):
            await call()


async def test_nobody_at_the_address_is_out_of_reach(
    start_worker: StartWorker, session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    client = client_of(session, f"http://127.0.0.1:{unused_tcp_port}", await start_worker())
    with pytest.raises(ControllerUnreachable, match=str(unused_tcp_port)):
        await client.register()


async def test_another_server_at_the_address_is_no_controller(
    start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    worker = await start_worker()
    client = client_of(session, worker.address, worker)
    with pytest.raises((ControllerUnreachable, RegistrationRefused), match="Not Found"):
        await client.heartbeat()


async def test_a_restarted_controller_has_its_worker_back_after_one_heartbeat_and_no_stream_is_lost(
    start_controller: StartController, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    worker = await start_worker()
    before, after = await start_controller(), await start_controller()
    addresses = [before.address, after.address]
    naps = 0
    back = asyncio.Event()

    class Moving(RegistrationClient):
        """Calls the second controller from the second round on: the first one "restarted"."""

        async def heartbeat(self) -> bool:
            self.controller = addresses[1]
            return await super().heartbeat()

    async def sleep(_: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            back.set()
            await asyncio.Event().wait()

    worker.may_go_on.clear()
    client = Moving(session, before.address, worker.address, TOKEN, lambda: worker.status)
    asked = session.post(f"{worker.address}/v1/chat/completions", json=chat(stream=True))
    async with asked as running, membership(client, 15, sleep):
        await back.wait()
        assert [known.address for known in after.workers.known()] == [worker.address]
        worker.may_go_on.set()
        assert (await running.text()).endswith("data: [DONE]\n\n")
