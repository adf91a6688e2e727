"""What the controls of the comparison do: events in, a view of the conversation out."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import gradio as gr

from llava_serve.errors import InvalidField
from llava_serve.web import composer, menu, render
from llava_serve.web.asking import Asking, Services
from llava_serve.web.conversation import Conversation
from llava_serve.web.parameters import Parameters

MOST = len(render.LETTERS)
_EMPTY = (
    '<div class="empty"><h2>Compare models</h2>'
    "<p>Choose two to four models. Each answers the same question about the same pictures, "
    "at the same time; then say which did better.</p></div>"
)


class CompareView(NamedTuple):
    """The outputs of the tab: components in the layout, updates in a handler."""

    composer: Any
    history: Any
    live: Any
    models: Any
    again: Any
    clear: Any
    better: tuple[Any, ...]
    tie: Any
    bad: Any

    def flat(self) -> list[Any]:
        """Return the outputs in one row, as Gradio wants them."""
        *first, better, tie, bad = self
        return [*first, *better, tie, bad]


class CompareHandlers:
    def __init__(self, services: Services) -> None:
        self._asking = Asking(services, "compare")
        self._link = services.link

    def view(self, conversation: Conversation, typed: dict[str, Any] | None = None) -> list[Any]:
        """Render everything from the conversation, which alone knows how things stand."""
        last, busy = conversation.last, conversation.is_busy
        settled = conversation.exchanges[: -1 if busy else None]
        live = render.exchanges(conversation.exchanges[len(settled) :])
        if conversation.notice is not None:
            live += render.error_card(conversation.notice)
        idle = last is not None and not busy
        count = len(last.answers) if last else 0
        votable = idle and last is not None and last.vote is None
        return CompareView(
            composer=typed or composer.offering(stop=busy),
            history=render.exchanges(settled) or ("" if busy else _EMPTY),
            live=live,
            models=gr.update(interactive=not conversation.exchanges),
            again=gr.update(interactive=idle),
            clear=gr.update(interactive=idle or conversation.notice is not None),
            better=tuple(_better(slot, count, votable) for slot in range(MOST)),
            tie=gr.update(interactive=votable),
            bad=gr.update(interactive=votable),
        ).flat()

    def choose(self, models: list[str], conversation: Conversation) -> None:
        """Take the models; their number is checked when a question is sent."""
        conversation.wanted = tuple(models)

    def refresh(self, conversation: Conversation) -> menu.MenuView:
        return menu.refresh(conversation, self._link, count=2)

    async def submit(self, message: dict[str, Any], conversation: Conversation) -> list[Any]:
        if conversation.is_busy:
            gr.Info("Answers are still running. Stop them first, or wait for them.")
            return self.view(conversation)
        models = self._models(conversation)
        if not 2 <= len(models) <= MOST:
            conversation.notice = InvalidField(
                "models", f"{len(models)} are chosen and served; a comparison takes two to four"
            )
            return self.view(conversation)
        if await self._asking.accept(conversation, message, models):
            return self.view(conversation, composer.emptied())
        return self.view(conversation)

    def _models(self, conversation: Conversation) -> list[str]:
        """Return who answers: within a conversation always those who began it."""
        if conversation.last is not None:
            return [answer.model for answer in conversation.last.answers]
        return menu.chosen_of(conversation, self._link)

    async def stream(self, conversation: Conversation, *values: Any) -> AsyncGenerator[str]:
        """Yield the open exchange, and only that, as its answers grow."""
        async for exchange in self._asking.stream(conversation, Parameters(*values)):
            yield render.question(exchange) + render.answers(exchange)

    def settle(self, conversation: Conversation) -> list[Any]:
        return self.view(conversation)

    async def again(self, conversation: Conversation) -> list[Any]:
        await self._asking.again(conversation, self._models(conversation))
        return self.view(conversation)

    def clear(self, conversation: Conversation) -> list[Any]:
        if not conversation.is_busy:
            conversation.clear()
        return self.view(conversation)

    def stop(self, conversation: Conversation) -> None:
        conversation.stop()

    async def vote_better(self, slot: int, conversation: Conversation) -> list[Any]:
        if conversation.last is not None and slot < len(conversation.last.answers):
            model = conversation.last.answers[slot].model
            said = f"You found {model} better."
            await self._asking.vote(conversation, "better", said, model)
        return self.view(conversation)

    async def vote_tie(self, conversation: Conversation) -> list[Any]:
        await self._asking.vote(conversation, "tie", "You called it a tie.")
        return self.view(conversation)

    async def vote_both_bad(self, conversation: Conversation) -> list[Any]:
        await self._asking.vote(conversation, "both_bad", "You found none of them good.")
        return self.view(conversation)


def _better(slot: int, count: int, votable: bool) -> dict[str, Any]:
    return gr.update(visible=slot < max(2, count), interactive=votable and slot < count)
