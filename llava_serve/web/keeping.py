"""The database's side of a conversation: what of it is written down, and when."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llava_serve.errors import StorageFailed
from llava_serve.http import serving
from llava_serve.storage.store import NewTurn, Store
from llava_serve.web.answer import Answer
from llava_serve.web.conversation import Conversation, Exchange, Kind


class Keeping:
    """A database that fails is told by a notice, and the conversation goes on without it."""

    def __init__(self, store: Store, kind: Kind) -> None:
        self._store = store
        self._kind = kind

    async def question(self, conversation: Conversation, exchange: Exchange) -> None:
        """Write a question down, unless it is there."""
        if exchange.turn_id is None:
            turn = NewTurn(
                exchange=exchange.number, role="user", text=exchange.text, files=exchange.files
            )
            if ids := await self._added(conversation, [turn]):
                (exchange.turn_id,) = ids

    async def answers(self, conversation: Conversation, exchange: Exchange) -> None:
        """Write down how far the answers of an exchange have come, each in a row of its own."""
        fresh, turns, known = [], [], []
        for slot, answer in enumerate(exchange.answers):
            details = self._details(conversation, answer)
            if answer.turn_id is None:
                fresh.append(answer)
                turns.append(
                    NewTurn(
                        exchange=exchange.number,
                        role="assistant",
                        text=answer.text,
                        model=answer.model,
                        details=details,
                        slot=slot,
                    )
                )
            elif answer.is_unsaved:
                known.append(partial(self._store.update_turn, answer.turn_id, answer.text, details))
            answer.is_unsaved = (
                answer.is_open
            )  # before anything is waited for: it may end meanwhile
        for update in known:
            await self.done(conversation, update)
        if turns:
            ids = await self._added(conversation, turns)
            for answer, turn_id in zip(fresh, ids, strict=False):
                answer.turn_id = turn_id

    @staticmethod
    def _details(conversation: Conversation, answer: Answer) -> dict[str, Any]:
        parameters = conversation.parameters
        return answer.details() | {
            "parameters": {**parameters.fields(), "system": parameters.system}
        }

    async def _added(self, conversation: Conversation, turns: Sequence[NewTurn]) -> list[int]:
        add = partial(self._store.add_turns, conversation.id, self._kind, turns)
        return await self.done(conversation, add) or []

    async def replaced(
        self, conversation: Conversation, ids: Sequence[int | None], *, replaced: bool = True
    ) -> None:
        """Write down that turns are shown no longer, or again."""
        if known := [turn_id for turn_id in ids if turn_id is not None]:
            mark = partial(self._store.mark_replaced, known, replaced=replaced)
            await self.done(conversation, mark)

    async def vote(
        self, conversation: Conversation, turn_id: int, kind: str, **of: Any
    ) -> int | None:
        """Write a vote down; `of` is what `Store.add_vote` takes of a comparison."""
        add = partial(self._store.add_vote, conversation.id, turn_id, kind, **of)
        vote_id: int | None = await self.done(conversation, add)
        return vote_id

    async def done(self, conversation: Conversation, work: Callable[[], Any]) -> Any:
        """Run database work off the loop; a failure becomes a notice, and the chat goes on."""
        try:
            return await asyncio.to_thread(work)
        except StorageFailed as exc:
            serving.log_error(exc)
            conversation.notice = exc
            return None
