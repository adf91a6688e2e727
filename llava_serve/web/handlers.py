"""What the controls of both tabs do: events in, a view of the conversation out."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from llava_serve.web import menu, render
from llava_serve.web.asking import Asking, Services
from llava_serve.web.conversation import Conversation
from llava_serve.web.wiring import not_yet

# A handler that waits for nothing is a coroutine all the same: Gradio runs plain functions on
# threads of its own, and a conversation belongs to the event loop.


class Handlers(ABC):
    """`models` is how many models a new tab begins with."""

    def __init__(self, services: Services, kind: Literal["chat", "compare"], models: int) -> None:
        self._asking = Asking(services, kind)
        self._link = services.link
        self._models_at_first = models

    @abstractmethod
    async def view(
        self, conversation: Conversation, typed: dict[str, Any] | None = None
    ) -> list[Any]:
        """Render everything from the conversation, which alone knows how things stand."""

    def refresh(self, conversation: Conversation) -> menu.MenuView:
        return menu.refresh(conversation, self._link, self._models_at_first)

    async def stream(self, conversation: Conversation) -> AsyncGenerator[str]:
        """Yield the open exchange, and only that, as it grows."""
        async with aclosing(self._asking.stream(conversation)) as updates:
            async for exchange in updates:
                yield await asyncio.to_thread(render.exchanges, [exchange.snapshot()])

    async def settle(self, conversation: Conversation) -> list[Any]:
        return await self.view(conversation)

    async def stop(self, conversation: Conversation) -> None:
        conversation.stop()

    async def clear(self, conversation: Conversation) -> list[Any]:
        if not conversation.is_busy:
            conversation.clear()
        return await self.view(conversation)

    @staticmethod
    async def _transcript(conversation: Conversation, empty: str) -> tuple[str, str]:
        """Render what is settled and what is not yet; `empty` stands for no exchange at all."""
        exchanges = [exchange.snapshot() for exchange in conversation.exchanges]
        settled = exchanges[: -1 if exchanges and exchanges[-1].is_open else None]
        history = await asyncio.to_thread(render.exchanges, settled)
        live = await asyncio.to_thread(render.exchanges, exchanges[len(settled) :])
        if conversation.notice is not None:
            live += render.error_card(conversation.notice)
        return history if exchanges else empty, live

    @staticmethod
    def _refuse_while_busy(conversation: Conversation) -> None:
        if conversation.is_busy:
            raise not_yet("An answer is still running. Stop it first, or wait for it.")
