"""When the model behind an engine is there: always, or as a process of its own comes and goes."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from llava_serve.engines.base import Load
from llava_serve.protocol.openai import ModelCard


class Presence(Protocol):
    """What the cluster is told about an engine's model."""

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Keep an eye on the model while the body runs."""
        ...

    async def change(self, known: ModelCard | None) -> ModelCard | None:
        """Wait until what is served is not `known`, and return it; None: nothing is served."""
        ...

    def load(self) -> Load | None:
        """Return how much the model has to do; None where this worker's own count says it all."""
        ...


class InThisProcess:
    """A model that was loaded here: it is there as long as the process is."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Watch nothing."""
        return nullcontext()

    async def change(self, known: ModelCard | None) -> ModelCard | None:
        """Return the model at the first call; no later one returns."""
        if known is self._card:
            await asyncio.Event().wait()
        return self._card

    def load(self) -> None:
        """Leave it to the worker's own count."""
