"""Audit log: one row for each request, written in batches off the event loop."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

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
        closing = asyncio.Event()
        writing = asyncio.create_task(self._keep_writing(closing), name="audit")
        try:
            yield
        finally:
            closing.set()  # not cancelled: rows that are half written would be written twice
            await writing
            await self.flush()

    async def _keep_writing(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), _WRITE_EVERY_S)
            await self.flush()

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
