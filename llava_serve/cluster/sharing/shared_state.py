"""Shared state of the controllers of one cluster: records that each writes and the others read."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

# Records that nobody has written anew for so long are dropped.
KEEP_S = 900.0


class SharedStateAway(Exception):
    """The shared state cannot be reached; the message says why."""


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A small JSON under a key, and how long ago it became so.

    Clocks of different machines are never compared: a record has an age and no date.
    """

    key: str
    value: str
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StateExchange:
    """What came back from an exchange; the next one goes on behind `revision`.

    Not `is_continued`: what this controller once wrote is gone, so `records` are all there are, and
    the controller should write everything it knows once more.
    """

    records: Sequence[StateRecord]
    revision: int
    is_continued: bool


class SharedState(Protocol):
    """What the controllers of one cluster know together."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Make `exchange` usable while the body runs; never fails for want of a connection."""
        ...

    async def exchange(
        self, own: StateRecord, changed: Sequence[StateRecord], since: int
    ) -> StateExchange:
        """Write records, and read what others have written behind the revision `since`.

        Of two records with one key the younger stays; who writes an older one gets the younger.
        `own` is the caller's alone and tells whether the state still is the one of the last call.

        Raises:
            SharedStateAway: nothing came back; what was written may have arrived.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Stored:
    value: str
    at: float
    revision: int


class MemoryState:
    """The shared state of controllers in one process; one that is alone needs none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._revision = 0
        self._stored: dict[str, _Stored] = {}  # in the order of their revisions

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `SharedState.opened`."""
        yield

    async def exchange(
        self, own: StateRecord, changed: Sequence[StateRecord], since: int
    ) -> StateExchange:
        """See `SharedState.exchange`."""
        now = self._clock()
        stored = self._stored.get(own.key)
        is_continued = stored is not None and stored.revision == since
        taken = {record.key for record in (*changed, replace(own, age_s=0)) if self._put(record)}
        self._drop_old(now - KEEP_S)
        refused = {record.key for record in changed} - taken
        newer = set() if is_continued else set(self._stored)
        for key in reversed(self._stored):
            if self._stored[key].revision <= since:
                break
            newer.add(key)
        records = [
            StateRecord(key, self._stored[key].value, now - self._stored[key].at)
            for key in self._stored
            if key in (newer | refused) - taken
        ]
        return StateExchange(records, self._revision, is_continued)

    def _put(self, record: StateRecord) -> bool:
        at = self._clock() - record.age_s
        stored = self._stored.get(record.key)
        if stored is not None and stored.at > at:
            return False
        self._stored.pop(record.key, None)
        self._revision += 1
        self._stored[record.key] = _Stored(record.value, at, self._revision)
        return True

    def _drop_old(self, before: float) -> None:
        self._stored = {key: stored for key, stored in self._stored.items() if stored.at >= before}
