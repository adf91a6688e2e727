"""Requests of batches get what slots others leave, and give them back where somebody waits."""

import pytest

from llava_serve.errors import NoWorker, TurnTakenBack
from tests.cluster.waiting.test_line import A, B, Requests, requests, settled

QUIET_S = 0.5


async def ask_for_batch(one: Requests, *names: str) -> None:
    for name in names:
        await one.send(name, owner="batch", is_batch=True)


async def wait(one: Requests, seconds: float) -> None:
    one.pass_time(seconds)
    await settled()


async def test_a_batch_leaves_a_quarter_of_the_slots_free() -> None:
    async with requests() as one:
        one.admit(capacity=8)
        await ask_for_batch(one, *"abcdefgh")
        assert set(one.running) == set("abcdef")
        await one.end("a")
        assert "g" in one.running


async def test_a_worker_of_one_slot_answers_batches_too() -> None:
    async with requests() as one:
        one.admit(capacity=1)
        await ask_for_batch(one, "a", "b")
        assert set(one.running) == {"a"}
        await one.end("a")
        assert set(one.running) == {"b"}


async def test_a_batch_waits_until_nobody_else_is_answered() -> None:
    async with requests() as one:
        one.admit(capacity=4)
        await one.send("person")
        await ask_for_batch(one, "a")
        await wait(one, 10)
        assert set(one.running) == {"person"}
        await one.end("person")
        assert not one.running  # who asks one thing after the other is about to ask the next
        await wait(one, QUIET_S)
        assert set(one.running) == {"a"}


async def test_an_engine_that_lets_batches_stand_back_makes_them_beside_others() -> None:
    async with requests() as one:
        one.admit(capacity=4, engine="torch")
        await one.send("person")
        await ask_for_batch(one, "a", "b", "c")
        assert set(one.running) == {"person", "a", "b"}


async def test_a_batch_goes_to_the_worker_that_nobody_else_has() -> None:
    async with requests() as one:
        one.admit(A, capacity=4)
        one.admit(B, capacity=4)
        await one.send("person")
        await ask_for_batch(one, "a", "b")
        others = {one.running[name].address for name in ("a", "b")}
        assert others == {A, B} - {one.running["person"].address}


async def test_nobody_waits_for_a_batch() -> None:
    async with requests() as one:
        one.admit(capacity=2)
        await ask_for_batch(one, "a")
        await one.send("first")
        await one.send("second")  # for which a slot is taken back
        assert set(one.running) == {"first", "second"}
        assert isinstance(one.tasks["a"].exception(), TurnTakenBack)
        await ask_for_batch(one, "b")
        await one.send("third")
        assert one.waiting == 1
        await one.end("first")
        assert set(one.running) == {"second", "third"}


async def test_what_a_batch_waits_for_is_in_nobodys_way() -> None:
    async with requests(max_waiting=1) as one:
        one.admit(capacity=1)
        await one.send("first")
        await ask_for_batch(one, *"abc")
        await one.send("second")
        assert one.waiting == 1
        assert one.line.batches.lengths() == {"echo": 3}
        await one.end("first")
        assert set(one.running) == {"second"}


async def test_a_batch_without_a_worker_is_told_so() -> None:
    async with requests() as one:
        await ask_for_batch(one, "a")
        assert isinstance(one.tasks["a"].exception(), NoWorker)
        one.admit(capacity=4)
        await one.send("person")
        await ask_for_batch(one, "b")
        one.workers.deregister(A)
        await settled()
        assert isinstance(one.tasks["b"].exception(), NoWorker)


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_batch_that_is_cancelled_leaves_nothing(is_running: bool) -> None:
    async with requests() as one:
        one.admit(capacity=1)
        await ask_for_batch(one, "a", "b", "c")
        one.tasks["a" if is_running else "b"].cancel()
        await settled()
        assert set(one.running) == ({"b"} if is_running else {"a"})
        await one.end(*one.running)
        assert set(one.running) == {"c"}


async def test_two_batches_have_fair_turns() -> None:
    async with requests() as one:
        one.admit(capacity=1)
        await ask_for_batch(one, "a", "b", "c")
        await one.send("other", owner="another", is_batch=True)
        await one.end("a")
        await one.end("b")
        assert set(one.running) == {"other"}
