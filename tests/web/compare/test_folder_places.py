"""A model takes what it may of the places, and leaves each other one its own."""

import asyncio
from contextlib import AsyncExitStack

from llava_serve.web.compare.folder_places import FolderPlaces
from tests.until import bounded


async def test_every_model_has_a_place_however_many_are_stuck() -> None:
    places = FolderPlaces(4, lambda _: 100)
    async with AsyncExitStack() as stuck:
        for model in ("a", "a", "a", "b", "b", "b"):
            await stuck.enter_async_context(places.of(model))

        async def wait() -> None:
            async with places.of("c"):
                pass

        async with bounded("a place for each of three"):
            await asyncio.gather(wait(), wait(), wait())


async def test_what_is_given_back_goes_to_who_has_waited_longest() -> None:
    places, order = FolderPlaces(1, lambda model: {"a": 2, "b": 1}[model]), list[str]()
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(places.of("a"))

        async def wait(name: str) -> None:
            async with places.of("a"):
                order.append(name)

        waiting = [asyncio.create_task(wait(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*waiting)
    assert order == ["first", "second"]
