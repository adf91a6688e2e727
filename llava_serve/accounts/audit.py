"""Audit log: one row for each request, written in batches off the event loop."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llava_serve.accounts.repeating import repeated
from llava_serve.accounts.store import AccountStore, AuditedRequest
from llava_serve.errors import StorageFailed
from llava_serve.retry import RateLimitedWarning

logger = logging.getLogger(__name__)

MOST_HELD = 20_000  # rows while the database is away; older ones are lost
_WRITE_EVERY_S = 1.0
_BATCH = 1000


class AuditLog:
    """Rows that wait for the database; no request waits for it. Usable inside `opened`."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._rows: deque[AuditedRequest] = deque(maxlen=MOST_HELD)
        self._warning = RateLimitedWarning(logger)

    def add(self, row: AuditedRequest) -> None:
        """Keep a row until it is written."""
        if len(self._rows) == MOST_HELD:
            self._warning.warn("lost", "the audit loses rows: the database takes none")
        self._rows.append(row)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Write rows while the body runs, and the last ones behind it."""
        async with repeated(self.flush, _WRITE_EVERY_S, "audit"):
            yield

    async def flush(self) -> None:
        """Write what waits; what the database does not take waits on."""
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(_BATCH, len(self._rows)))]
            try:
                await asyncio.to_thread(self._store.add_requests, batch)
            except StorageFailed as exc:
                room = MOST_HELD - len(self._rows)
                self._rows.extendleft(reversed(batch[-room:] if room else []))
                self._warning.warn("away", "the audit waits for the database: %s", exc.message)
                return
            self._warning.reset()
