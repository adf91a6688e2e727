"""What the controls of the chat tab do: events in, a view of the conversation out."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import gradio as gr

from llava_serve.web import composer, menu, render
from llava_serve.web.asking import Asking, Services
from llava_serve.web.conversation import Conversation
from llava_serve.web.examples import Example, empty_state
from llava_serve.web.parameters import Parameters

_VOTES = {"up": "You liked this answer.", "down": "You disliked it.", "flag": "You flagged it."}


class ChatView(NamedTuple):
    """The outputs of the tab: components in the layout, updates in a handler."""

    composer: Any
    history: Any
    live: Any
    budget: Any
    again: Any
    more: Any
    edit: Any
    clear: Any
    up: Any
    down: Any
    flag: Any


class ChatHandlers:
    def __init__(self, services: Services, examples: tuple[Example, ...]) -> None:
        self._asking = Asking(services, "chat")
        self._link = services.link
        self._examples = examples

    def view(self, conversation: Conversation, typed: dict[str, Any] | None = None) -> ChatView:
        """Render everything from the conversation, which alone knows how things stand."""
        last, busy = conversation.last, conversation.is_busy
        answer = last.answers[0] if last else None
        settled = conversation.exchanges[: -1 if busy else None]
        history = render.exchanges(settled) or ("" if busy else empty_state(self._examples))
        live = render.exchanges(conversation.exchanges[len(settled) :])
        if conversation.notice is not None:
            live += render.error_card(conversation.notice)
        idle = answer is not None and not busy
        failed = answer is not None and answer.error is not None
        cut = idle and answer is not None and answer.can_continue
        votable = idle and answer is not None and bool(answer.text)
        return ChatView(
            composer=typed or composer.offering(stop=busy),
            history=history,
            live=live,
            budget=render.budget(self._link.card(menu.chosen(conversation, self._link)), answer),
            again=gr.update(interactive=idle, value="↻ Retry" if failed else "↻ Regenerate"),
            more=gr.update(visible=cut, interactive=cut),
            edit=gr.update(interactive=idle),
            clear=gr.update(interactive=idle or conversation.notice is not None),
            up=gr.update(interactive=votable),
            down=gr.update(interactive=votable),
            flag=gr.update(interactive=votable),
        )

    def choose(self, model: str | None, conversation: Conversation) -> Any:
        """Take the model for what is asked from here on."""
        conversation.wanted = (model,) if model else ()
        return self.view(conversation).budget

    def refresh(self, conversation: Conversation) -> menu.MenuView:
        return menu.refresh(conversation, self._link, count=1)

    async def submit(self, message: dict[str, Any], conversation: Conversation) -> ChatView:
        if conversation.is_busy:
            gr.Info("An answer is still running. Stop it first, or wait for it.")
            return self.view(conversation)
        model = menu.chosen(conversation, self._link)
        if await self._asking.accept(conversation, message, [model] if model else []):
            return self.view(conversation, composer.emptied())
        return self.view(conversation)

    async def stream(self, conversation: Conversation, *values: Any) -> AsyncGenerator[str]:
        """Yield the open exchange, and only that, as it grows."""
        async for exchange in self._asking.stream(conversation, Parameters(*values)):
            yield render.question(exchange) + render.answers(exchange)

    def settle(self, conversation: Conversation) -> ChatView:
        return self.view(conversation)

    async def again(self, conversation: Conversation) -> ChatView:
        model = menu.chosen(conversation, self._link)
        await self._asking.again(conversation, [model] if model else [])
        return self.view(conversation)

    async def more(self, conversation: Conversation) -> ChatView:
        await self._asking.resume(conversation)
        return self.view(conversation)

    async def edit(self, conversation: Conversation) -> ChatView:
        taken = await self._asking.take_back(conversation)
        if taken is None:
            return self.view(conversation)
        media = self._asking.services.media
        paths = [str(media.path(file.filename)) for file in taken.files]
        return self.view(conversation, composer.holding(taken.text, paths))

    def clear(self, conversation: Conversation) -> ChatView:
        if not conversation.is_busy:
            conversation.clear()
        return self.view(conversation)

    def stop(self, conversation: Conversation) -> None:
        conversation.stop()

    async def vote(self, kind: str, conversation: Conversation) -> ChatView:
        await self._asking.vote(conversation, kind, _VOTES[kind])
        return self.view(conversation)

    def example(self, event: gr.EventData) -> Any:
        """Put the example that was clicked into the composer, ready to be sent."""
        example = self._examples[int(event.index)]
        media = self._asking.services.media
        return composer.holding(
            example.question, [str(media.path(file.filename)) for file in example.files]
        )
