"""What the controls of the comparison do beyond what those of both tabs do."""

from typing import Any, NamedTuple

import gradio as gr

from llava_serve.errors import InvalidField
from llava_serve.web import composer, menu, render
from llava_serve.web.asking import Services
from llava_serve.web.conversation import Conversation, Exchange
from llava_serve.web.handlers import Handlers
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
    signal: Any
    models: Any
    again: Any
    clear: Any
    undo: Any
    better: tuple[Any, ...]
    tie: Any
    bad: Any

    def flat(self) -> list[Any]:
        """Return the outputs in one row, as Gradio wants them."""
        *first, better, tie, bad = self
        return [*first, *better, tie, bad]


class CompareHandlers(Handlers):
    def __init__(self, services: Services) -> None:
        super().__init__(services, "compare", models=2)

    @property
    def invitation(self) -> str:
        return _EMPTY

    async def view(
        self, conversation: Conversation, typed: dict[str, Any] | None = None
    ) -> list[Any]:
        last, busy = conversation.last, conversation.is_busy
        idle = last is not None and not busy
        slots = _votable(last) if last is not None and idle else []
        shown = max(2, len(last.answers) if last else 0)
        return CompareView(
            composer=typed or composer.offering(stop=busy),
            signal=self.signal(conversation),
            models=gr.update(interactive=not conversation.exchanges),
            again=gr.update(
                interactive=idle, value="Retry" if last and last.failed else "Regenerate"
            ),
            clear=gr.update(interactive=idle or (not busy and conversation.notice is not None)),
            undo=gr.update(visible=conversation.can_undo, interactive=conversation.can_undo),
            better=tuple(
                gr.update(visible=slot < shown, interactive=slot in slots) for slot in range(MOST)
            ),
            tie=gr.update(interactive=bool(slots)),
            bad=gr.update(interactive=bool(slots)),
        ).flat()

    async def choose(self, conversation: Conversation, models: list[str]) -> None:
        """Take the models; their number is checked when a question is sent."""
        conversation.wanted, conversation.has_chosen = tuple(models), True

    async def submit(
        self, conversation: Conversation, message: dict[str, Any], *values: Any
    ) -> list[Any]:
        models = self._models(conversation)
        if not conversation.is_busy and not 2 <= len(models) <= MOST:
            conversation.notice = InvalidField(
                "models", f"{len(models)} are chosen and served; a comparison takes two to four"
            )
            conversation.touch()
            return await self.view(conversation)
        if await self._asking.accept(conversation, message, models, Parameters(*values)):
            return await self.view(conversation, composer.emptied())
        return await self.view(conversation)

    def _models(self, conversation: Conversation) -> list[str]:
        """Return who answers: within a conversation always those who began it."""
        if conversation.last is not None:
            return [answer.model for answer in conversation.last.answers]
        return menu.chosen_of(conversation, self._link)

    async def again(self, conversation: Conversation, *values: Any) -> list[Any]:
        models = self._models(conversation)
        await self._asking.again(conversation, models, Parameters(*values))
        return await self.view(conversation)

    async def vote_better(self, slot: int, conversation: Conversation) -> list[Any]:
        last = conversation.last
        if last is not None and slot in _votable(last):
            await self._asking.vote(conversation, "better", slot)
        return await self.view(conversation)

    async def vote_all(self, kind: str, conversation: Conversation) -> list[Any]:
        """Record a vote on all answers together: `tie` or `both_bad`."""
        if conversation.last is not None and _votable(conversation.last):
            await self._asking.vote(conversation, kind)
        return await self.view(conversation)


def _votable(last: Exchange) -> list[int]:
    """Return the places of the answers that may be called better; none where none can be judged.

    One answer alone has nothing to be better than.
    """
    slots = [slot for slot, answer in enumerate(last.answers) if answer.text]
    return slots if len(slots) >= 2 else []
