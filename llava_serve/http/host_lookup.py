"""Host names looked up: once for all who ask within ten seconds."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cachetools import TTLCache

Addresses = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]  # as getaddrinfo returns them

_Host = tuple[str, int]  # and port
_KEPT_S = 10.0
_MOST_KEPT = 1_000


class HostLookup:
    """Asks the system for the IP addresses of hosts. What fails is asked again at once.

    A name whose server is silent is looked up once, however long that takes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._found = TTLCache[_Host, asyncio.Task[Addresses]](_MOST_KEPT, _KEPT_S, timer=clock)
        self._pending: dict[_Host, asyncio.Task[Addresses]] = {}

    async def find(self, host: str, port: int) -> Addresses:
        """Return where a connection to `host` can be made.

        Raises:
            OSError: the host has no IP address.
            UnicodeError: it is no valid name.
        """
        key = host, port
        looking = self._pending.get(key) or self._found.get(key)
        if looking is None:
            looking = self._found[key] = self._pending[key] = asyncio.create_task(
                _look_up(host, port)
            )
            looking.add_done_callback(partial(self._end, key))
        return await asyncio.shield(looking)

    async def close(self) -> None:
        """Cancel the look-ups that are under way."""
        looking = list(self._pending.values())
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)

    def _end(self, key: _Host, looked_up: asyncio.Task[Addresses]) -> None:
        del self._pending[key]
        if looked_up.cancelled() or looked_up.exception() is not None:
            self._found.pop(key, None)


async def _look_up(host: str, port: int) -> Addresses:
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
