"""As many questions are asked at once as the model's slots need."""

import asyncio

import pytest

from llava_serve.errors import ServeError
from llava_serve.evaluation.concurrency import UNTOLD, Concurrency, following_slots, places_for
from tests.evaluation.answering import MODEL, Answering
from tests.until import bounded, until


@pytest.mark.parametrize(("slots", "places"), [(None, UNTOLD), (1, 2), (2, 3), (16, 24)])
def test_half_as_many_wait_as_there_are_slots(slots: int | None, places: int) -> None:
    assert places_for(slots) == places


async def test_who_finds_no_place_waits_until_one_is_given_back() -> None:
    concurrency = Concurrency(1)
    await concurrency.take()
    second = asyncio.create_task(concurrency.take())
    await asyncio.sleep(0)
    assert concurrency.taken == 1
    await concurrency.give_back()
    async with bounded("a place"):
        await second


async def test_more_places_wake_those_who_wait() -> None:
    concurrency = Concurrency(1)
    async with bounded("places"), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(concurrency.take())
        await concurrency.change(3)


async def test_places_follow_the_slots_as_workers_come_and_go() -> None:
    answering = Answering(slots=4)
    async with (
        answering.opened() as server,
        following_slots(server, MODEL, None, every_s=0.01) as concurrency,
    ):
        assert concurrency.limit == 6
        answering.slots = 8
        await until(lambda: concurrency.limit == 12)
        answering.models.clear()  # for a moment no worker is there: the last answer counts
        answering.slots = 2
        await asyncio.sleep(0.05)
        assert concurrency.limit == 12
        answering.models.append(MODEL)
        await until(lambda: concurrency.limit == 3)


async def test_a_server_that_tells_no_slots_is_asked_eight_at_once() -> None:
    async with Answering().opened() as server, following_slots(server, MODEL, None) as concurrency:
        assert concurrency.limit == UNTOLD


async def test_a_fixed_number_is_kept() -> None:
    async with (
        Answering(slots=4).opened() as server,
        following_slots(server, MODEL, 2, every_s=0.0) as concurrency,
    ):
        assert concurrency.limit == 2


async def test_a_server_that_cannot_be_asked_at_first_is_an_error() -> None:
    answering = Answering()
    async with answering.opened() as server:
        pass
    with pytest.raises((ServeError, RuntimeError)):
        async with following_slots(server, MODEL, None):
            pass
