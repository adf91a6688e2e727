"""What the controls of the chat tab do beyond what those of both tabs do."""

from typing import Any, NamedTuple

import gradio as gr
from pydantic import BaseModel, NonNegativeInt

from llava_serve.errors import AskedModelGone, InvalidField
from llava_serve.web import composer, menu, render, uploads
from llava_serve.web.asking import Services
from llava_serve.web.conversation import Conversation
from llava_serve.web.examples import Example, empty_state
from llava_serve.web.handlers import Handlers
from llava_serve.web.parameters import Parameters

_DRAFT_WOULD_GO = "Send or delete what you have typed: the last question would replace it."


class ChatView(NamedTuple):
    """The outputs of the tab: components in the layout, updates in a handler."""

    composer: Any
    signal: Any
    budget: Any
    again: Any
    more: Any
    edit: Any
    clear: Any
    undo: Any


class ExampleClick(BaseModel):
    """Which of the examples was clicked, counted from 0."""

    index: NonNegativeInt


class ChatHandlers(Handlers):
    def __init__(self, services: Services, examples: tuple[Example, ...]) -> None:
        super().__init__(services, "chat", models=1)
        self._examples = examples
        self._invitation = empty_state(examples)

    @property
    def invitation(self) -> str:
        return self._invitation

    async def view(
        self, conversation: Conversation, typed: dict[str, Any] | None = None
    ) -> list[Any]:
        last, busy = conversation.last, conversation.is_busy
        answer = last.answers[0] if last and last.answers else None
        idle = answer is not None and not busy
        failed = answer is not None and answer.error is not None
        cut = idle and answer is not None and answer.can_continue
        return list(
            ChatView(
                composer=typed or composer.offering(stop=busy),
                signal=self.signal(conversation),
                budget=self._budget(conversation),
                again=gr.update(interactive=idle, value="Retry" if failed else "Regenerate"),
                more=gr.update(visible=cut, interactive=cut),
                edit=gr.update(interactive=idle),
                clear=gr.update(interactive=idle or (not busy and conversation.notice is not None)),
                undo=gr.update(visible=conversation.can_undo, interactive=conversation.can_undo),
            )
        )

    def _budget(self, conversation: Conversation) -> str:
        card = self._link.card(menu.chosen(conversation, self._link))
        said = (one.answers[0] for one in reversed(conversation.exchanges) if one.answers)
        known = (answer for answer in said if answer.prompt_tokens is not None)
        return render.budget(card, next(known, None))

    async def choose(self, conversation: Conversation, model: str | None) -> str:
        """Take the model for what is asked from here on."""
        conversation.wanted = (model,) if model else ()
        conversation.has_chosen = bool(model)
        return self._budget(conversation)

    async def submit(
        self, conversation: Conversation, message: dict[str, Any], *values: Any
    ) -> list[Any]:
        models = self._models(conversation)
        if await self._asking.accept(conversation, message, models, Parameters(*values)):
            return await self.view(conversation, composer.emptied())
        return await self.view(conversation)

    def _models(self, conversation: Conversation) -> list[str]:
        return menu.chosen_of(conversation, self._link)[:1]

    async def again(self, conversation: Conversation, *values: Any) -> list[Any]:
        """Ask the chosen model, or after a failure the one that was asked.

        What stands in for a model that is gone answers new questions only.
        """
        models, last = self._models(conversation), conversation.last
        if models and last and last.failed and models[0] not in conversation.wanted:
            asked = last.answers[0].model or models[0]
            if self._link.card(asked) is None and not conversation.is_busy:
                conversation.notice = AskedModelGone(asked, models[0])
                conversation.touch()
                return await self.view(conversation)
            models = [asked]
        await self._asking.again(conversation, models, Parameters(*values))
        return await self.view(conversation)

    async def more(self, conversation: Conversation, *values: Any) -> list[Any]:
        await self._asking.resume(conversation, Parameters(*values))
        return await self.view(conversation)

    async def edit(self, conversation: Conversation, message: dict[str, Any]) -> list[Any]:
        """Put the last question back into the composer, unless another one is being typed."""
        if not composer.is_empty(message):
            conversation.touch()  # so that the browser is told again at a second click
            view = ChatView(*await self.view(conversation))
            return list(view._replace(signal=self.signal(conversation, _DRAFT_WOULD_GO)))
        taken = await self._asking.take_back(conversation)
        if taken is None:
            return await self.view(conversation)
        paths = await uploads.lend(taken.files, self._asking.services.media)
        return await self.view(conversation, composer.holding(taken.text, paths))

    async def example(self, click: ExampleClick) -> Any:
        """Put the example that was clicked into the composer, ready to be sent."""
        if click.index >= len(self._examples):
            raise InvalidField("index", f"is that of no example: there are {len(self._examples)}")
        example = self._examples[click.index]
        paths = await uploads.lend(example.files, self._asking.services.media)
        return composer.holding(example.question, paths)
