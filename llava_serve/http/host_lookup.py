"""Host names looked up: once for all who ask within ten seconds."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from cachetools import TTLCache

Addresses = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]  # as getaddrinfo returns them

_KEPT_S = 10.0
_MOST_KEPT = 1_000


class HostLookup:
    """Asks the system for the IP addresses of hosts. What fails is asked again at once."""

    def __init__(self) -> None:
        self._found: TTLCache[tuple[str, int], asyncio.Task[Addresses]] = TTLCache(
            _MOST_KEPT, _KEPT_S
        )

    async def find(self, host: str, port: int) -> Addresses:
        """Return where a connection to `host` can be made.

        Raises:
            OSError: nowhere.
            UnicodeError: it is no name.
        """
        key = host, port
        if (looking := self._found.get(key)) is None:
            looking = self._found[key] = asyncio.create_task(_look_up(host, port))
            looking.add_done_callback(partial(self._forget_failed, key))
        return await asyncio.shield(looking)

    async def close(self) -> None:
        """Leave what is being looked up."""
        looking = list(self._found.values())
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)

    def _forget_failed(self, key: tuple[str, int], looked_up: asyncio.Task[Addresses]) -> None:
        if looked_up.cancelled() or looked_up.exception() is not None:
            self._found.pop(key, None)


async def _look_up(host: str, port: int) -> Addresses:
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
