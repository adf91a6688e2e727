"""Key ring: every key in memory, read again every few seconds, so that no request waits for it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from llava_serve.accounts.repeating import repeated
from llava_serve.accounts.store import AccountStore
from llava_serve.api_key import ApiKey, id_of, is_same
from llava_serve.errors import KeyRefused, StorageFailed
from llava_serve.retry import RateLimitedWarning

logger = logging.getLogger(__name__)

REFRESH_S = 2.0  # a key that was revoked is refused everywhere after so long
_NO_DIGEST = "0" * 64  # as long as one, and of no key
_LEAST_REFRESH_S = 0.5  # between reads for ids that are not known; their callers wait


class KeyRing:
    """The keys of a store, and the tokens they have used this month. Usable inside `opened`.

    While the database is away, what was read last holds, and tokens are added once it is back.
    """

    def __init__(self, store: AccountStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._keys: dict[str, tuple[ApiKey, str]] = {}
        self._used: dict[str, int] = {}  # as the database knows it
        self._unwritten: Counter[str] = Counter()
        self._held: set[tuple[ApiKey, asyncio.Timeout]] = set()  # what runs
        self._read_at = float("-inf")
        self._syncing = asyncio.Lock()
        self._reading_soon = asyncio.Lock()
        self._warning = RateLimitedWarning(logger)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Read the keys now and then again and again; the database may come later."""
        await self._try_sync()
        async with repeated(self._try_sync, REFRESH_S, "keyring"):
            yield

    async def find(self, text: str) -> ApiKey:
        """Return the key that a client shows.

        Raises:
            KeyRefused: it is unknown, expired or revoked.
        """
        key_id = id_of(text) or ""
        key = self._known(key_id, text)
        if key is None and key_id:
            await self._read_soon()
            key = self._known(key_id, text)
        if key is None:
            raise KeyRefused("unknown")
        if (state := key.state(self._clock())) != "active":
            raise KeyRefused(state)
        return key

    def latest(self, key_id: str) -> ApiKey | None:
        """Return a key as it was read last; None where it is unknown, or nothing was read yet."""
        key, _ = self._keys.get(key_id, (None, _NO_DIGEST))
        return key

    @asynccontextmanager
    async def while_good(self, key: ApiKey) -> AsyncIterator[None]:
        """Run the body until the key is revoked or expires, as it is read every few seconds.

        Raises:
            KeyRefused: it was, and the body is cancelled.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._held.add((key, scope))
                try:
                    yield
                finally:
                    self._held.remove((key, scope))
        except TimeoutError as exc:
            if not scope.expired():
                raise
            raise KeyRefused(self._state_of(key)) from exc

    def _state_of(self, key: ApiKey) -> str:
        latest, _ = self._keys.get(key.id, (key, _NO_DIGEST))
        return latest.state(self._clock())

    def _end_held(self) -> None:
        for key, scope in self._held:
            if self._state_of(key) != "active" and not scope.expired():
                scope.reschedule(0)

    def _known(self, key_id: str, text: str) -> ApiKey | None:
        key, digest = self._keys.get(key_id, (None, _NO_DIGEST))
        return key if is_same(text, digest) else None

    def tokens_this_month(self, key: ApiKey) -> int:
        return self._used.get(key.id, 0) + self._unwritten[key.id]

    def add_tokens(self, key: ApiKey, tokens: int) -> None:
        self._unwritten[key.id] += tokens

    async def _read_soon(self) -> None:
        """Read the keys once more, for one that may have been made just now."""
        asked_at = time.monotonic()
        async with self._reading_soon:
            if self._read_at < asked_at:
                await asyncio.sleep(self._read_at + _LEAST_REFRESH_S - time.monotonic())
                await self._try_sync()

    async def _try_sync(self) -> None:
        try:
            await self._sync()
        except StorageFailed as exc:
            self._warning.warn(
                "unread", "API keys are served as they were read last: %s", exc.message
            )
            self._end_held()  # what has expired meanwhile
        else:
            self._warning.reset()

    async def _sync(self) -> None:
        async with self._syncing:
            self._read_at = time.monotonic()
            if not self._store.exists():  # and to look into it would make it
                return
            keys = await asyncio.to_thread(self._store.all_keys)
            self._keys = {key.id: (key, digest) for key, digest in keys}
            self._end_held()  # whatever the database does with the rest
            written = Counter({id_: n for id_, n in self._unwritten.items() if n})
            if written:  # behind the keys: a database that takes nothing can still revoke
                await asyncio.to_thread(self._store.add_tokens, written)
                self._unwritten -= written
                self._used = Counter(self._used) + written  # at no moment less than it was
            self._used = await asyncio.to_thread(self._store.tokens_this_month)
