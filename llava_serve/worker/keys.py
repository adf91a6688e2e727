"""API keys at a worker: those whose use nobody needs to count, for the model that it serves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey
from llava_serve.config import ApiConfig
from llava_serve.errors import KeyRefused, ModelNotAllowed


class WorkerKeys:
    """Usable inside `opened`. Where the accounts are out of reach, no key is good.

    Limits are counted by controllers: a key that has some would be without them here.
    """

    def __init__(self, config: ApiConfig, model: Callable[[], str]) -> None:
        self._store = AccountStore(config.database or default_url(config.state_dir))
        self._ring = KeyRing(self._store)
        self._model = model

    async def find(self, text: str) -> ApiKey:
        """Return the key that a client shows.

        Raises:
            KeyRefused: it is not good, or has limits.
            ModelNotAllowed: it is for other models.
        """
        key = await self._ring.find(text)
        if key.is_limited:
            raise KeyRefused("for the controller, which counts its limits")
        if not key.may_ask(self._model()):
            raise ModelNotAllowed(self._model())
        return key

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Read the keys while the body runs."""
        async with self._ring.opened():
            try:
                yield
            finally:
                self._store.close()
