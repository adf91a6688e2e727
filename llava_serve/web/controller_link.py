"""The page's link to its controllers: a client, and the list of models for all browsers."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp

from llava_serve.background import background
from llava_serve.client import ChatClient
from llava_serve.controllers import Controllers
from llava_serve.credential import Credential
from llava_serve.errors import ServeError
from llava_serve.protocol.model_card import ModelCard
from llava_serve.tracing.span import Tracer
from llava_serve.web import messages

logger = logging.getLogger(__name__)

POLL_S = 2.0


class ControllerLink:
    """`cards` and `error` are the newest answer to "what is served?"; browsers only read them.

    In mode `once` the question is asked until a controller names a model, and never again.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        mode: Literal["once", "reload"] = "reload",
        trust: ssl.SSLContext | None = None,
        credentials: Sequence[Credential] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._addresses = addresses
        self._credentials = credentials or [dict] * len(addresses)
        self.cards: tuple[ModelCard, ...] = ()
        self.error: ServeError | None = None
        self._mode = mode
        self._trust = trust
        self._tracer = tracer or Tracer()
        self._client: Controllers | None = None

    @property
    def client(self) -> Controllers:
        """The client, while the link is open."""
        if self._client is None:
            raise RuntimeError("the link is used outside of its `opened` block")
        return self._client

    def card(self, model: str | None) -> ModelCard | None:
        """Return the card of a model that is served; None of any other."""
        return next((card for card in self.cards if card.id == model), None)

    async def poll(self) -> None:
        """Ask once; an unreachable controller is a fact to show, not a failure of the page."""
        try:
            cards, error = tuple(await self.client.models()), None
        except ServeError as exc:
            cards, error = (), exc
        if (error and error.message) != (self.error and self.error.message):
            logger.info("models: %s", error.message if error else [card.id for card in cards])
        self.cards, self.error = cards, error

    @asynccontextmanager
    async def opened(
        self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """Connect and keep asking, for as long as the block runs."""
        # The page bounds its answers itself; a bound here would make the question for models wait.
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trust or True)
        async with aiohttp.ClientSession(
            connector=connector, trust_env=False, json_serialize=messages.dumps
        ) as session:
            self._client = Controllers(
                ChatClient(address, session, credential, self._tracer)
                for address, credential in zip(self._addresses, self._credentials, strict=True)
            )
            async with self._tracer.running(), background(self._keep_polling(sleep), "polling"):
                yield

    async def _keep_polling(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        while True:
            await self.poll()
            if self._mode == "once" and self.cards:
                return
            await sleep(POLL_S)
