"""Links to share a conversation: made, found by their token, withdrawn."""

import secrets
from collections.abc import Sequence

from sqlalchemy import Delete, Select, delete, select

from llava_serve.storage.identity import Identity
from llava_serve.storage.store import WHOLE, Store
from llava_serve.storage.tables import ConversationRow, SharedRow


class SharedLinks:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, conversation_id: str, turn_ids: Sequence[int]) -> str:
        """Make a link to these turns of a conversation; an earlier link to it ends.

        Of two that are made at once the later one stays: each waits for the other's end.
        """
        token = secrets.token_urlsafe(32)
        row = SharedRow(token=token, conversation_id=conversation_id, turn_ids=[*turn_ids])
        row.created_at = self._store.now()
        with self._store.transaction() as session:
            session.execute(_held(conversation_id))
            session.execute(_of(conversation_id))
            session.add(row)
        return token

    def withdraw(self, conversation_id: str) -> None:
        """Share nothing of a conversation any more."""
        with self._store.transaction() as session:
            session.execute(_of(conversation_id))

    def tokens(self, whose: Identity, conversation_ids: Sequence[str]) -> dict[str, str]:
        """Return the tokens of those conversations of theirs that are shared, by their ids."""
        wanted = (
            select(SharedRow.conversation_id, SharedRow.token)
            .join(ConversationRow, ConversationRow.id == SharedRow.conversation_id)
            .where(whose.has, SharedRow.conversation_id.in_(conversation_ids))
        )
        with self._store.transaction() as session:
            return {row.conversation_id: row.token for row in session.execute(wanted)}

    def conversation(self, token: str) -> ConversationRow | None:
        """Return what a link shares, without votes and as it was; None where there is no link."""
        with self._store.transaction() as session:
            shared = session.get(SharedRow, token)
            if shared is None:
                return None
            wanted = select(ConversationRow).where(ConversationRow.id == shared.conversation_id)
            row, turn_ids = session.scalars(wanted.options(*WHOLE)).one(), set(shared.turn_ids)
            session.expunge_all()
        row.turns = [turn for turn in row.turns if turn.id in turn_ids]
        for turn in row.turns:
            turn.replaced = False
        row.votes = []
        return row


def _held(conversation_id: str) -> Select[str]:
    """Select a conversation's row for this transaction alone; SQLite has one writer anyway."""
    wanted = select(ConversationRow.id).where(ConversationRow.id == conversation_id)
    return wanted.with_for_update()


def _of(conversation_id: str) -> Delete:
    return delete(SharedRow).where(SharedRow.conversation_id == conversation_id)
