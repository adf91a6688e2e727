"""A batch on its way: killed, cancelled, out of time, refused, and asked again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llava_serve.accounts.keyring import REFRESH_S
from llava_serve.cluster.batches.batch_store import BatchFolder, BatchStore
from tests.cluster.batches.conftest import Client, batch_controller, client_of, lines
from tests.cluster.keyed import Keyed, echo_worker
from tests.until import until

SLOW_S = 0.05  # a word
WORDS = "one two three four"


async def done_some(client: Client, batch_id: str) -> int:
    """Return how many lines are done, once there are some."""
    while True:
        counts = (await client.openai.batches.retrieve(batch_id)).request_counts
        if counts is not None and counts.completed:
            return counts.completed


async def results_of(client: Client, batch: Any) -> tuple[list[str], Counter[str]]:
    """Return the ids of what was answered, and how often each code is in the error file."""
    answered = [each["custom_id"] for each in await client.results(batch.output_file_id)]
    errors = await client.results(batch.error_file_id)
    ids = [*answered, *(each["custom_id"] for each in errors)]
    counts = batch.request_counts
    assert len(ids) == len(set(ids)) == counts.total
    assert (counts.completed, counts.failed) == (len(answered), len(errors))
    codes = Counter(
        str((each["error"] or each["response"]["body"]["error"])["code"]) for each in errors
    )
    return answered, codes


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with batch_controller(tmp_path) as keyed, echo_worker(keyed, delay_s=SLOW_S):
        yield keyed


async def test_a_batch_goes_on_with_the_next_controller(tmp_path: Path) -> None:
    async with (
        batch_controller(tmp_path) as keyed,
        echo_worker(keyed, delay_s=SLOW_S),
        client_of(keyed) as client,
    ):
        api_key = client.openai.api_key
        begun = await client.begin(lines(30, text=WORDS))
        done = await done_some(client, begun.id)
        assert done < 30
    async with batch_controller(tmp_path) as keyed, echo_worker(keyed):
        async with client_of(keyed, "bob") as bob:
            with pytest.raises(Exception, match="no batch"):
                await bob.openai.batches.retrieve(begun.id)
        async with client_of(keyed, api_key=api_key) as client:
            batch = await client.reached(begun.id, "completed")
            answered, codes = await results_of(client, batch)
    assert (len(answered), codes) == (30, {})


async def test_what_is_cancelled_keeps_what_is_done(slow: Keyed) -> None:
    async with client_of(slow) as client:
        begun = await client.begin(lines(100, text=WORDS))
        await done_some(client, begun.id)
        cancelling = await client.openai.batches.cancel(begun.id)
        assert cancelling.status == "cancelling"
        assert cancelling.cancelling_at
        async with asyncio.timeout(5):
            batch = await client.reached(begun.id, "cancelled")
        assert batch.cancelled_at
        answered, codes = await results_of(client, batch)
        assert codes == {"batch_cancelled": 100 - len(answered)}
        assert answered
        again = await client.openai.batches.cancel(begun.id)
        assert again == batch


async def test_a_batch_that_has_ended_cannot_be_cancelled(slow: Keyed) -> None:
    async with client_of(slow) as client:
        begun = await client.begin(lines(1))
        await client.reached(begun.id, "completed")
        with pytest.raises(Exception, match="it is completed"):
            await client.openai.batches.cancel(begun.id)


async def test_nothing_runs_once_a_batch_is_cancelled(tmp_path: Path) -> None:
    async with (
        batch_controller(tmp_path) as keyed,
        echo_worker(keyed, delay_s=60) as engine,
        client_of(keyed) as client,
    ):
        begun = await client.begin(lines(9))
        await until(lambda: engine.running > 0, "a request that runs")
        async with asyncio.timeout(5):
            await client.openai.batches.cancel(begun.id)
            await until(lambda: engine.running == 0, "no request that runs")
            await client.reached(begun.id, "cancelled")


async def test_a_batch_ends_with_its_window(tmp_path: Path) -> None:
    async with (
        batch_controller(tmp_path) as keyed,
        echo_worker(keyed, delay_s=SLOW_S),
        client_of(keyed) as client,
    ):
        api_key = client.openai.api_key
        begun = await client.begin(lines(100, text=WORDS), completion_window="1h")
        await done_some(client, begun.id)
    later = BatchStore(tmp_path / "files" / "batches", lambda: begun.created_at + 3600)
    async with (
        batch_controller(tmp_path, batches=later) as keyed,
        client_of(keyed, api_key=api_key) as client,
    ):
        batch = await client.reached(begun.id, "expired")
        answered, codes = await results_of(client, batch)
    assert batch.expired_at
    assert codes == {"batch_expired": 100 - len(answered)}


async def test_a_key_that_is_revoked_ends_its_batches(slow: Keyed) -> None:
    async with client_of(slow) as client:
        begun = await client.begin(lines(500, text=WORDS))
        await done_some(client, begun.id)
        await asyncio.to_thread(slow.store.revoke, "alice")
        folder = folder_of(slow, begun.id)
        await until(lambda: is_at(folder, "failed"), f"the end, after {REFRESH_S} s at most")
        batch = folder.read()
    assert batch is not None
    assert batch.errors[0] == {"code": "invalid_api_key", "message": "the API key is revoked"}
    assert batch.completed + batch.failed == 500
    assert set(batch.results) == {"output", "errors"}


def folder_of(keyed: Keyed, batch_id: str) -> BatchFolder:
    (path,) = keyed.folder.glob(f"files/batches/*/{batch_id}")
    return BatchFolder(path)


def is_at(folder: BatchFolder, status: str) -> bool:
    batch = folder.read()
    return batch is not None and batch.status == status


async def test_a_limit_of_the_key_is_waited_for(tmp_path: Path) -> None:
    async with (
        batch_controller(tmp_path) as keyed,
        echo_worker(keyed),
        client_of(keyed, max_parallel=2) as client,
    ):
        begun = await client.begin(lines(6))
        batch = await client.reached(begun.id, "completed")
        answered, codes = await results_of(client, batch)
    assert (len(answered), codes) == (6, {})


async def test_a_batch_waits_for_a_worker(tmp_path: Path) -> None:
    async with batch_controller(tmp_path) as keyed, client_of(keyed) as client:
        begun = await client.begin(lines(3))
        await client.reached(begun.id, "in_progress")
        async with echo_worker(keyed):
            batch = await client.reached(begun.id, "completed")
            answered, codes = await results_of(client, batch)
    assert (len(answered), codes) == (3, {})


async def test_two_controllers_run_a_batch_once(tmp_path: Path) -> None:
    async with (
        batch_controller(tmp_path) as one,
        batch_controller(tmp_path) as other,
        echo_worker(one, other) as engine,
        client_of(one) as client,
    ):
        begun = await client.begin(lines(12))
        batch = await client.reached(begun.id, "completed")
        assert len(await client.results(batch.output_file_id)) == 12
        seen = await other.http.get(
            f"/v1/batches/{begun.id}",
            headers={"Authorization": f"Bearer {client.openai.api_key}"},
        )
    assert seen.json()["status"] == "completed"
    assert engine.running == 0
