"""Controllers of one cluster count together what runs for a key."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path

from llava_serve.accounts.key_counts import KeyCounts
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.registry_sync import RegistrySync
from llava_serve.cluster.sharing.shared_state import MemoryState
from llava_serve.cluster.upstream.upstream import Upstream, UpstreamLimits
from tests.cluster.conftest import StartWorker, chat
from tests.cluster.keyed import Keyed, keyed_controller
from tests.until import bounded

CHAT = "/v1/chat/completions"


async def test_a_controller_that_died_keeps_its_counts_for_seconds() -> None:
    now = 1000.0

    def clock() -> float:
        return now

    state = MemoryState(clock)

    def controller(name: str) -> RegistrySync:
        workers = Registry(shortest_queue)
        prober = Prober(workers, Upstream(UpstreamLimits()), clock)
        return RegistrySync(workers, prober, state, name, clock, keys=KeyCounts())

    a, b, c = map(controller, "abc")
    a.keys.answers.add("k", 2)
    a.keys.tokens.add("k", 300)
    b.keys.answers.add("k", 1)
    for sync in (a, b, c):
        await sync.turn()
    assert (c.keys.answers.of("k"), c.keys.tokens.of("k")) == (3, 300)
    now += 4
    for sync in (b, c):  # and not the first
        await sync.turn()
    assert c.keys.answers.of("k") == 3
    now += 2
    await b.turn()
    await c.turn()
    assert (c.keys.answers.of("k"), c.keys.tokens.of("k")) == (1, 0)


async def until_answered(keyed: Keyed, headers: dict[str, str], status: int) -> None:
    """Ask what costs nothing, for the worker refuses it."""
    async with bounded(f"an answer with status {status}"):
        for _ in itertools.count():
            answer = await keyed.http.post(CHAT, json=chat("refuse"), headers=headers)
            if answer.status_code == status:
                return
            await asyncio.sleep(0.01)


async def test_what_runs_at_one_controller_is_no_room_at_the_other(
    tmp_path: Path, start_worker: StartWorker
) -> None:
    state = MemoryState()
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(keyed_controller(tmp_path, state=state))
            for _ in range(2)
        ]
        worker = await start_worker()
        one.join(worker)
        other.join(worker)
        issued = {
            "answers": await one.headers("alice", max_parallel=1),
            "tokens": await one.headers("bob", tokens_per_minute=100),
        }
        for headers in issued.values():
            worker.may_go_on.clear()
            worker.at_it.clear()
            asked = one.http.post(CHAT, json=chat(stream=True), headers=headers)
            running = asyncio.create_task(asked)
            await worker.at_it.wait()
            await until_answered(other, headers, 429)
            worker.may_go_on.set()
            assert (await running).status_code == 200
            await until_answered(other, headers, 418)
