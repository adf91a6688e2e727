"""Crowd: how much of one kind the page does at once, for all and for one address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope

from llava_serve.errors import PageBusy
from llava_serve.http.hosts import network_of


class Crowd:
    """`most` of `what` at once, and half as many for one address.

    A cookie costs nothing, so what is bounded by browser is bounded by address too. It is that of
    the connection: behind a proxy all share one, and half is what all have together.
    """

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self._of_address = Counter[str]()

    @contextmanager
    def joined(self, address: str) -> Iterator[None]:
        """Count while the body runs.

        Raises:
            PageBusy: there are as many already as may be.
        """
        if self._of_address[address] >= self._most // 2:
            raise PageBusy(self._most // 2, f"{self._what} from your network")
        if self._of_address.total() >= self._most:
            raise PageBusy(self._most, self._what)
        self._of_address[address] += 1
        try:
            yield
        finally:
            self._of_address[address] -= 1
            self._of_address += Counter()  # forgets who has none


def address_of(scope: Scope) -> str:
    """Return the IP address or network that a request came from."""
    client = scope.get("client")
    return network_of(client[0]) if client else ""
