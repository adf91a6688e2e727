"""List of conversations: those of a user or a browser, searched, renamed and deleted."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, and_, case, func, or_, select
from sqlalchemy.orm import aliased

from llava_serve.storage.identity import Identity
from llava_serve.storage.store import WHOLE, Store, delete_conversations, is_used
from llava_serve.storage.tables import ConversationRow, TurnMediaRow, TurnRow

MOST_LISTED = 1000
LONGEST_TITLE = 200  # characters
_SEARCHED = 2000  # conversations, the newest
_MOST_WORDS = 8
_TITLE = 60  # characters of a question
_READ = 1000  # characters of a question that is cut
_CUT = " …"
_USED_AT = func.coalesce(ConversationRow.used_at, ConversationRow.created_at)
_NEWEST_FIRST = (_USED_AT.desc(), ConversationRow.id)


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation in the list; `used_at` is in seconds since the epoch.

    Without words and files it has no title.
    """

    id: str
    kind: str
    title: str
    used_at: float


class ConversationList:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(
        self, whose: Identity, search: str = "", count: int = 50
    ) -> tuple[list[Entry], bool]:
        """Return the newest conversations that hold every word, and whether there are more.

        Words are looked for in titles and texts, of the newest 2000 conversations.
        """
        words = search.replace("\0", " ").split()[:_MOST_WORDS]
        wanted = _listed(whose, words).limit(min(count, MOST_LISTED) + 1)
        with self._store.transaction() as session:
            rows = session.execute(wanted).all()
        return [_entry(row) for row in rows[:count]], len(rows) > count

    def conversation(self, whose: Identity, conversation_id: str) -> ConversationRow | None:
        """Return one of theirs with turns, media and votes; None where it is none of theirs."""
        wanted = select(ConversationRow).where(_is(whose, conversation_id)).options(*WHOLE)
        with self._store.transaction() as session:
            row = session.scalars(wanted).one_or_none()
            session.expunge_all()
        return row

    def title(self, whose: Identity, conversation_id: str) -> str | None:
        """Return what one of theirs is called in the list; None where it is not in it."""
        wanted = _listed(whose).where(ConversationRow.id == conversation_id)
        with self._store.transaction() as session:
            row = session.execute(wanted).one_or_none()
        return None if row is None else _entry(row).title

    def rename(self, whose: Identity, conversation_id: str, title: str) -> bool:
        """Give one of theirs a title, or with an empty one its first question as before.

        False says that it is none of theirs.
        """
        wanted = select(ConversationRow).where(_is(whose, conversation_id))
        with self._store.transaction() as session:
            row = session.scalars(wanted).one_or_none()
            if row is not None:
                row.title = " ".join(title.replace("\0", " ").split())[:LONGEST_TITLE] or None
        return row is not None

    def delete(self, whose: Identity, conversation_id: str) -> list[str] | None:
        """Delete one of theirs; return the stored files that no turn has any more.

        None says that it is none of theirs.
        """
        with self._store.transaction() as session:
            deleted = delete_conversations(session, [_is(whose, conversation_id)])
        return deleted.filenames if deleted.conversations else None

    def used(self, filenames: Sequence[str]) -> set[str]:
        """Return those of the stored files that a turn has."""
        with self._store.transaction() as session:
            return {one for one in filenames if is_used(session, one)}


def title_of(question: str, filename: str | None = None) -> str:
    """Return a question cut at a word; without words it is called by its first file, if any."""
    text = " ".join(question[:_READ].split()) or filename or ""
    shortened = textwrap.shorten(text, _TITLE, placeholder=_CUT)
    return text[: _TITLE - len(_CUT)] + _CUT if shortened == _CUT.strip() else shortened


def _is(whose: Identity, conversation_id: str) -> ColumnElement[bool]:
    return and_(whose.has, ConversationRow.id == conversation_id)


def _listed(whose: Identity, words: Sequence[str] = ()) -> Select[Any]:
    """Select conversations that have a question, with the first that is shown."""
    first = _first()
    newest = select(ConversationRow.id).where(whose.has).order_by(*_NEWEST_FIRST).limit(_SEARCHED)
    text = func.substr(TurnRow.text, 1, _READ).label("text")
    file = and_(TurnMediaRow.turn_id == TurnRow.id, TurnMediaRow.position == 0)
    row = ConversationRow
    return (
        select(row.id, row.kind, row.title, _USED_AT.label("used_at"), text, TurnMediaRow.name)
        .select_from(row)
        .join(TurnRow, TurnRow.id == first)
        .outerjoin(TurnMediaRow, file)
        .where(row.id.in_(select(newest.subquery().c.id)), *map(_holds, words))
        .order_by(*_NEWEST_FIRST)
    )


def _first() -> ScalarSelect[int]:
    """Select the id of the first question that is shown; where each was replaced, of the first."""
    asked = aliased(TurnRow)
    shown = func.min(case((asked.replaced.is_(False), asked.id)))
    return (
        select(func.coalesce(shown, func.min(asked.id)))
        .where(asked.conversation_id == ConversationRow.id, asked.role == "user")
        .scalar_subquery()
    )


def _holds(word: str) -> ColumnElement[bool]:
    said = aliased(TurnRow)
    texts = (
        select(said.id)
        .where(said.conversation_id == ConversationRow.id)
        .where(said.replaced.is_(False) | (said.id == _first()))
        .where(said.text.icontains(word, autoescape=True))
    )
    return or_(ConversationRow.title.icontains(word, autoescape=True), texts.exists())


def _entry(row: Row[Any]) -> Entry:
    title = row.title or title_of(row.text, row.name)
    return Entry(row.id, row.kind, title, row.used_at)
