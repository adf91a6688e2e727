"""Persistence of a conversation: what is written to the database, and what comes back from it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, get_args

from llava_serve.errors import (
    AnswerInterrupted,
    MediaUnreadable,
    RemoteError,
    ServeError,
    StorageFailed,
)
from llava_serve.http import serving
from llava_serve.logins.user import User
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.store import Store
from llava_serve.storage.tables import ConversationRow, TurnMediaRow, TurnRow, VoteRow, counting
from llava_serve.web.branches.tree import shown_exchanges
from llava_serve.web.branches.versions import every
from llava_serve.web.chat_state import ChatState, Exchange, Kind
from llava_serve.web.compare.fingerprint import Fingerprint
from llava_serve.web.inspection.probabilities import ToldToken
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import State, StreamedReply, Vote


class TurnWriter:
    """Writes turns and votes; where the database fails, a notice says so and the chat goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def question(self, conversation: ChatState, exchange: Exchange) -> None:
        """Write a question down, unless it is there."""
        if exchange.turn_id is None:
            index = conversation.exchanges.index(exchange)
            before = conversation.exchanges[index - 1].turn_id if index else None
            turn = TurnRow(exchange=exchange.number, role="user", text=exchange.text)
            turn.parent_id = before
            turn.media = [TurnMediaRow.of(file) for file in exchange.files]
            if ids := await self._added(conversation, [turn]):
                (exchange.turn_id,) = ids

    async def replies(self, conversation: ChatState, exchange: Exchange) -> None:
        """Write down how far the answers of an exchange have come, each in a row of its own."""
        fresh, turns, known = [], [], []
        parameters = conversation.parameters.kept()
        for slot, reply in enumerate(exchange.replies):
            details = reply.details() | {"parameters": parameters}
            if reply.turn_id is None:
                turn = TurnRow(
                    exchange=exchange.number,
                    parent_id=exchange.turn_id,
                    slot=slot,
                    role="assistant",
                    text=reply.text,
                    model=reply.model,
                    details=details,
                )
                fresh.append(reply)
                turns.append(turn)
            elif reply.is_unsaved:
                known.append(partial(self._store.update_turn, reply.turn_id, reply.text, details))
            reply.is_unsaved = reply.is_open  # before anything is waited for: it may end meanwhile
        for update in known:
            await self.done(conversation, update)
        if turns:
            ids = await self._added(conversation, turns)
            for reply, turn_id in zip(fresh, ids, strict=False):
                reply.turn_id = turn_id

    async def _added(self, conversation: ChatState, turns: Sequence[TurnRow]) -> list[int]:
        add = partial(
            self._store.add_turns,
            conversation.id,
            conversation.kind,
            turns,
            conversation.identity,
        )
        return await self.done(conversation, add) or []

    async def replaced(
        self, conversation: ChatState, ids: Sequence[int | None], *, replaced: bool = True
    ) -> None:
        """Write down that turns are shown no longer, or again."""
        if known := [turn_id for turn_id in ids if turn_id is not None]:
            mark = partial(self._store.mark_replaced, known, replaced=replaced)
            await self.done(conversation, mark)

    async def vote(self, conversation: ChatState, turn_id: int, kind: str, **of: Any) -> int | None:
        """Write a vote down; `of` is what `Store.add_vote` takes of a comparison."""
        add = partial(self._store.add_vote, conversation.id, turn_id, kind, **of)
        vote_id: int | None = await self.done(conversation, add)
        return vote_id

    async def done(self, conversation: ChatState, work: Callable[[], Any]) -> Any:
        """Run database work off the loop; a failure becomes a notice, and the chat goes on."""
        try:
            return await asyncio.to_thread(work)
        except StorageFailed as exc:
            serving.log_error(exc)
            conversation.notice = exc
            return None


logger = logging.getLogger(__name__)


def restored(row: ConversationRow, media: MediaStore, user: User | None = None) -> ChatState:
    """Return what the tab of its user showed that asked last. It blocks.

    An image that is no longer in the store is left out, with a notice.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    kind = next((known for known in kinds if known == row.kind), kinds[0])
    conversation = ChatState(kind, row.id, user, row.browser)
    find = cache(partial(_file, conversation, media))  # a version has the files of another
    conversation.exchanges = shown_exchanges(row.turns, partial(_exchange, find))
    _add_votes([one for one, _ in every(conversation.exchanges)], counting(row.votes))
    if conversation.last is not None:
        conversation.wanted = tuple(filter(None, (one.model for one in conversation.last.replies)))
        conversation.has_chosen = bool(conversation.wanted)
    shown = [turn for turn in row.turns if turn.role == "assistant"]
    if shown:
        conversation.parameters = Parameters.restored(shown[-1].details.get("parameters", {}))
    return conversation


Find = Callable[[str, str], StoredFile | None]
"""Finds a file by its name in the store and the one its user gave it."""


def _exchange(find: Find, question: TurnRow, answers: Sequence[TurnRow]) -> Exchange:
    kept = _in_slots(answers, with_replaced=question.replaced)
    replies = [reply_of(turn) for turn in kept]
    if not replies:  # its server died before it could begin
        replies = [StreamedReply(model="", state="failed", error=AnswerInterrupted())]
    found = [find(f"{row.sha256}.{row.extension}", row.name) for row in question.media]
    files = tuple(file for file in found if file is not None)
    return Exchange(question.text, files, replies, question.exchange, question.id)


def _in_slots(replies: Sequence[TurnRow], *, with_replaced: bool) -> list[TurnRow]:
    """Return the last answer in each slot, in their order; all of a hidden version are replaced.

    Older versions kept no slots; they wrote the first answers in their order, one for each model.
    """
    models = list(dict.fromkeys(turn.model for turn in replies))

    def place(turn: TurnRow) -> int:
        return models.index(turn.model) if turn.slot is None else turn.slot

    in_slots = {place(turn): turn for turn in replies if with_replaced or not turn.replaced}
    return [in_slots[slot] for slot in sorted(in_slots)]


def _file(
    conversation: ChatState, media: MediaStore, filename: str, name: str
) -> StoredFile | None:
    try:
        return media.find(filename, name)
    except ServeError as exc:
        logger.warning("a picture of %s cannot be shown again: %s", conversation.id, exc)
        conversation.notice = MediaUnreadable(f"{name!r} is no longer kept here")
        return None


def reply_of(row: TurnRow) -> StreamedReply:
    """Return the answer that a row keeps; one that was still open has failed."""
    details = row.details
    reply = StreamedReply(row.model or "", text=row.text, turn_id=row.id, is_unsaved=False)
    reply.request_id = details.get("request_id", reply.request_id)
    reply.finish_reason = details.get("finish_reason")
    reply.prompt_tokens = details.get("prompt_tokens")
    reply.completion_tokens = details.get("completion_tokens")
    reply.cached_tokens = details.get("cached_tokens")
    reply.asked = Parameters.restored(details.get("parameters", {}))
    reply.given = details.get("given", 0)
    reply.tokens = [ToldToken.restored(kept) for kept in details.get("tokens", ())]
    reply.first_delta = details.get("time_to_first_token_s")  # it began at 0
    reply.tokens_per_s = details.get("tokens_per_s")
    reply.fingerprint = Fingerprint.restored(details.get("fingerprint"))
    state, error = details.get("state"), details.get("error")
    reply.state = next((known for known in get_args(State) if known == state), "failed")
    if reply.is_open or reply.state == "failed":
        reply.state, reply.error = "failed", _error(error)
    return reply


def _error(kept: Mapping[str, str] | None) -> ServeError:
    if kept is None:
        return AnswerInterrupted()
    return RemoteError.from_body({"error": kept}, ServeError.status)


def _add_votes(exchanges: Sequence[Exchange], counted: Sequence[VoteRow]) -> None:
    for exchange in exchanges:
        of_row = {reply.turn_id: reply for reply in exchange.replies}
        for vote in counted:
            if vote.compared:
                if {one.turn_id for one in vote.compared} == of_row.keys():
                    exchange.judged = vote.kind, vote.model
            elif vote.turn_id in of_row:
                kinds: tuple[Vote, ...] = get_args(Vote)
                given = next((kind for kind in kinds if kind == vote.kind), None)
                of_row[vote.turn_id].vote = given
