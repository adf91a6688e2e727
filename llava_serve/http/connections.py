"""Connection limits of our servers, and the table of the connections that are open.

What one address or a slow client holds never keeps others out: of the connections whose request is
not whole, the one that has been silent longest gives way to a new one. Where all are being
answered, the new one is answered with 503.
"""

import resource
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

_MOST_DESCRIPTORS = 65_536
_OWN_DESCRIPTORS = 128  # files, pipes and libraries of the process itself
_LEAST = 16


def raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system lets this process; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return soft


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """`idle_per_address` counts connections that have brought no whole request.

    Beside them, so many more may be open as came within `just_came_s`: where many come at once, as
    from a proxy, they have had no time to bring one.
    """

    total: int
    per_address: int
    idle_per_address: int = 256
    just_came_s: float = 0.25
    header_s: float = 15.0
    unread_s: float = 60.0  # for a client to take some of an answer that waits for it
    header_bytes: int = 65_536

    @classmethod
    def of_descriptors(cls, descriptors: int) -> "ConnectionLimits":
        """Leave room for what answers need: a forwarded request holds two descriptors.

        One address, which may be a proxy's, gets three quarters and never all.
        """
        total = max(_LEAST, (descriptors - _OWN_DESCRIPTORS) // 2)
        return cls(total=total, per_address=max(_LEAST * 3 // 4, total * 3 // 4))


class Connection(Protocol):
    """What the table knows of a connection."""

    address: str

    def give_way(self) -> None:
        """Close: a new connection needs the room."""
        ...


@dataclass
class _AddressConnections:
    """The connections of one address; of the idle ones the longest silent stands first."""

    count: int = 0
    came: deque[float] = field(default_factory=deque)  # when the last ones did
    idle: OrderedDict[Connection, None] = field(default_factory=OrderedDict)


class ConnectionTable:
    """All connections of one server."""

    def __init__(
        self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self._clock = clock
        self.count = 0
        self.refused = 0
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._addresses: dict[str, _AddressConnections] = {}

    def add(self, connection: Connection) -> bool:
        """Count a new connection, in place of an idle one where there is no room; False: none."""
        own = self._addresses.get(connection.address) or _AddressConnections()
        if own.count >= self.limits.per_address and not self._close_oldest(own.idle):
            return False
        if self.count >= self.limits.total and not self._close_oldest(self._idle):
            return False
        self._make_room(own)
        self._addresses[connection.address] = own  # the last one of it may have given way
        own.count += 1
        self.count += 1
        self.mark_idle(connection)
        return True

    def mark_idle(self, connection: Connection) -> None:
        """Note that a connection waits for its client, and has heard of it just now."""
        for idle in (self._idle, self._addresses[connection.address].idle):
            idle[connection] = None
            idle.move_to_end(connection)

    def mark_busy(self, connection: Connection) -> None:
        """Note that a connection waits for this server: for an answer, or to be read on."""
        self._idle.pop(connection, None)
        if (own := self._addresses.get(connection.address)) is not None:
            own.idle.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        self.mark_busy(connection)
        own = self._addresses[connection.address]
        own.count -= 1
        self.count -= 1
        if not own.count:
            del self._addresses[connection.address]

    def _make_room(self, own: _AddressConnections) -> None:
        """Close what is idle beyond the bound, which grows by those that have just come."""
        now, limits = self._clock(), self.limits
        while own.came and own.came[0] <= now - limits.just_came_s:
            own.came.popleft()
        while own.idle and len(own.idle) >= limits.idle_per_address + len(own.came):
            self._close_oldest(own.idle)
        own.came.append(now)

    @staticmethod
    def _close_oldest(idle: OrderedDict[Connection, None]) -> bool:
        if not idle:
            return False
        next(iter(idle)).give_way()
        return True
