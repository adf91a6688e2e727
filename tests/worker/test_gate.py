"""The gate bounds what runs and what waits, and every place comes back."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from llava_serve.errors import Busy, ShuttingDown
from llava_serve.worker.gate import Gate


async def hold(gate: Gate, until: asyncio.Event, count: int = 1) -> None:
    async with gate.slots(count):
        await until.wait()


async def turn() -> None:
    """Let every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_beyond_the_limit_wait_their_turn() -> None:
    gate, until = Gate(limit=2, max_waiting=3), asyncio.Event()
    holders = [asyncio.create_task(hold(gate, until)) for _ in range(5)]
    await turn()
    assert (gate.running, gate.waiting, gate.queue_length) == (2, 3, 5)
    until.set()
    await asyncio.gather(*holders)
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_full_line_is_refused_with_the_numbers_and_a_time_to_come_back() -> None:
    gate, until = Gate(limit=1, max_waiting=1), asyncio.Event()
    holders = [asyncio.create_task(hold(gate, until)) for _ in range(2)]
    await turn()
    with pytest.raises(Busy) as refusal:
        await hold(gate, until)
    assert refusal.value.message == (
        "answers that are made: 1, that wait: 1, that this request asks for: 1; "
        "the worker has places for 2"
    )
    assert refusal.value.headers["Retry-After"]
    until.set()
    await asyncio.gather(*holders)
    await hold(gate, until)


async def test_without_waiting_places_a_free_slot_is_still_given() -> None:
    gate = Gate(limit=1, max_waiting=0)
    async with gate.slots():
        assert gate.running == 1
        with pytest.raises(Busy):
            await gate.slots().__aenter__()
    assert gate.queue_length == 0


async def test_a_waiter_that_gives_up_leaves_the_line() -> None:
    gate, until = Gate(limit=1, max_waiting=2), asyncio.Event()
    holder, waiter = (asyncio.create_task(hold(gate, until)) for _ in range(2))
    await turn()
    waiter.cancel()
    await turn()
    assert (gate.running, gate.waiting) == (1, 0)
    until.set()
    await holder


async def test_a_slot_comes_back_when_the_body_raises() -> None:
    gate = Gate(limit=1, max_waiting=0)
    for _ in range(3):
        with pytest.raises(ValueError, match="body"):
            async with gate.slots():
                raise ValueError("body")
    assert gate.queue_length == 0


async def test_a_closed_gate_refuses_the_new_and_serves_the_old() -> None:
    gate, until = Gate(limit=1, max_waiting=1), asyncio.Event()
    holders = [asyncio.create_task(hold(gate, until)) for _ in range(2)]
    await turn()
    gate.close()
    async with AsyncExitStack() as stack:
        with pytest.raises(ShuttingDown):
            await stack.enter_async_context(gate.slots())
    until.set()
    await asyncio.gather(*holders)
    assert gate.queue_length == 0


async def test_several_answers_take_as_many_slots_at_once_and_in_turn() -> None:
    gate, until, later = Gate(limit=3, max_waiting=9), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(hold(gate, until, 2))
    others = [asyncio.create_task(hold(gate, later, count)) for count in (2, 2, 1)]
    await turn()
    assert (gate.running, gate.waiting) == (2, 5)
    until.set()
    await first
    await turn()
    assert (gate.running, gate.waiting) == (2, 3)
    later.set()
    await asyncio.gather(*others)
    assert (gate.running, gate.waiting) == (0, 0)


async def test_more_answers_than_slots_take_them_all_and_are_served() -> None:
    gate, until = Gate(limit=2, max_waiting=0), asyncio.Event()
    holder = asyncio.create_task(hold(gate, until, 16))
    await turn()
    assert gate.running == 2
    with pytest.raises(Busy):
        await hold(gate, until)
    until.set()
    await holder
    await hold(gate, until)


async def test_more_answers_than_there_are_places_left_are_refused() -> None:
    gate, until = Gate(limit=2, max_waiting=1), asyncio.Event()
    holder = asyncio.create_task(hold(gate, until, 2))
    await turn()
    with pytest.raises(Busy):
        await hold(gate, until, 2)
    waiter = asyncio.create_task(hold(gate, until))
    await turn()
    assert (gate.running, gate.waiting) == (2, 1)
    until.set()
    await asyncio.gather(holder, waiter)


async def test_a_waiter_with_some_of_its_slots_gives_them_back_when_it_leaves() -> None:
    gate, until = Gate(limit=3, max_waiting=6), asyncio.Event()
    holder = asyncio.create_task(hold(gate, until, 2))
    await turn()
    waiter = asyncio.create_task(hold(gate, until, 3))
    behind = asyncio.create_task(hold(gate, until, 1))
    await turn()
    assert (gate.running, gate.waiting) == (2, 4)
    waiter.cancel()
    await turn()
    assert (gate.running, gate.waiting) == (3, 0)
    until.set()
    await asyncio.gather(holder, behind)
    assert (gate.running, gate.waiting) == (0, 0)


async def test_who_is_still_being_prepared_holds_no_slot() -> None:
    gate, decoded, until = Gate(limit=1, max_waiting=2), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with gate.slots(1, prepare=lambda: wait(decoded)):
            await until.wait()

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    preparing = asyncio.create_task(slow())
    await turn()
    assert (gate.running, gate.waiting) == (0, 1)
    quick = asyncio.create_task(hold(gate, until))
    await turn()
    assert (gate.running, gate.waiting) == (1, 1)
    decoded.set()
    until.set()
    await asyncio.gather(preparing, quick)
    assert gate.queue_length == 0


async def test_a_request_whose_preparation_fails_leaves_the_line() -> None:
    gate = Gate(limit=1, max_waiting=0)

    async def fail() -> None:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        async with gate.slots(1, fail):
            pass
    assert gate.queue_length == 0
