"""Attempts to sign in that failed, by the address they came from."""

import time
from collections.abc import Callable

from cachetools import TTLCache

from llava_serve.errors import TooManyLogins
from llava_serve.http.hosts import network_of

MOST = 10
WAIT_S = 300
_ADDRESSES = 10_000


class FailedLogins:
    """Lets an address that has failed `MOST` times wait for `WAIT_S` seconds after the last one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: TTLCache[str, int] = TTLCache(_ADDRESSES, WAIT_S, timer=clock)

    def check(self, address: str) -> None:
        """Raises: TooManyLogins, when the address has to wait."""
        if self._counts.get(network_of(address), 0) >= MOST:
            raise TooManyLogins(WAIT_S)

    def add(self, address: str) -> None:
        """Count a failure."""
        network = network_of(address)
        self._counts[network] = self._counts.get(network, 0) + 1
