"""The models are asked for once for all browsers, whoever is up first."""

import asyncio
from collections.abc import Awaitable, Callable

from llava_serve.web.controller_link import ControllerLink


def naps(count: int) -> tuple[Callable[[float], Awaitable[None]], asyncio.Event]:
    """Return a sleep that takes no time for `count` calls and then for ever, and says when."""
    taken, event = 0, asyncio.Event()

    async def sleep(_: float) -> None:
        nonlocal taken
        taken += 1
        await asyncio.sleep(0)
        if taken > count:
            event.set()
            await asyncio.Event().wait()

    return sleep, event


async def test_without_a_controller_the_error_is_kept_and_asking_goes_on() -> None:
    link = ControllerLink(["http://127.0.0.1:9"])
    sleep, done = naps(2)
    async with link.opened(sleep):
        await done.wait()
    assert link.cards == ()
    assert link.error is not None and link.error.code == "controller_unreachable"


async def test_the_models_of_a_controller_are_listed(controller: str) -> None:
    link = ControllerLink([controller])
    sleep, done = naps(0)
    async with link.opened(sleep):
        await done.wait()
    assert [card.id for card in link.cards] == ["echo"]
    assert link.card("echo") is not None and link.card("other") is None


async def test_once_means_until_a_model_was_named(controller: str) -> None:
    link = ControllerLink([controller], "once")

    async def never(_: float) -> None:
        raise AssertionError("asked again")

    async with link.opened(never):
        while not link.cards:  # noqa: ASYNC110 - the link has no event, browsers poll it too
            await asyncio.sleep(0)
        await asyncio.sleep(0)
