"""Accounts of a server: its keys, their limits, and the audit of requests, opened together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from llava_serve.accounts.audit import AuditLog
from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.limits import KeyLimits
from llava_serve.accounts.rates import Rates
from llava_serve.accounts.store import AccountStore


class Accounts:
    """Usable inside `opened`; `audit` is None where it is switched off."""

    def __init__(
        self, store: AccountStore, rates: Rates | None = None, *, is_audited: bool = False
    ) -> None:
        self._store = store
        self._rates = rates or Rates()
        self.keys = KeyRing(store)
        self.limits = KeyLimits(self.keys, self._rates)
        self.audit = AuditLog(store) if is_audited else None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Read keys and write usage while the body runs; close the database behind it."""
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            await stack.enter_async_context(self._rates.opened())
            await stack.enter_async_context(self.keys.opened())
            if self.audit is not None:
                await stack.enter_async_context(self.audit.opened())
            yield
