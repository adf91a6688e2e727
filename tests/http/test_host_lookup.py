"""A host is looked up once for all who ask, and again after it was not found."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from llava_serve.http.host_lookup import HostLookup
from tests.until import LIMIT_S, until


async def test_a_host_is_looked_up_once() -> None:
    hosts = HostLookup()
    first, second = await asyncio.gather(hosts.find("localhost", 80), hosts.find("localhost", 80))
    assert first is second is await hosts.find("localhost", 80)
    assert await hosts.find("localhost", 81) != first


async def test_a_host_is_looked_up_again_after_ten_seconds() -> None:
    now = 0.0
    hosts = HostLookup(lambda: now)
    first = await hosts.find("localhost", 80)
    now = 9.9
    assert await hosts.find("localhost", 80) is first
    now = 10.1
    assert await hosts.find("localhost", 80) is not first


async def test_a_name_that_hangs_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looked_up, may_end = 0.0, [], threading.Event()

    def hang(host: str, *_: Any, **__: Any) -> list[Any]:
        looked_up.append(host)
        may_end.wait(LIMIT_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    hosts = HostLookup(lambda: now)
    asking = [asyncio.create_task(hosts.find("w", 80))]
    await until(lambda: looked_up == ["w"], "the look-up")
    now = 11.0
    asking.append(asyncio.create_task(hosts.find("w", 80)))
    await asyncio.sleep(0)  # it asks
    may_end.set()
    await asyncio.gather(*asking)
    assert looked_up == ["w"]


async def test_a_host_that_is_unknown_is_not_remembered() -> None:
    hosts = HostLookup()
    failures = []
    for _ in range(2):
        with pytest.raises(OSError) as unknown:
            await hosts.find("no-such-host.invalid", 80)
        failures.append(unknown.value)
    assert failures[0] is not failures[1]


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    hosts = HostLookup()
    asking = [asyncio.create_task(hosts.find("localhost", 80)) for _ in range(2)]
    await asyncio.sleep(0)  # they wait
    asking[0].cancel()
    assert await asking[1]
    assert asking[0].cancelled()


async def test_what_is_being_looked_up_is_left_at_the_end() -> None:
    hosts = HostLookup()
    asking = asyncio.create_task(hosts.find("localhost", 80))
    await asyncio.sleep(0)  # it waits
    await hosts.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
