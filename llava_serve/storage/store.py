"""Conversations, turns and votes in a database."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session, selectinload, sessionmaker

from llava_serve.storage import migration
from llava_serve.storage.battle_tables import BattleRow, BattleVoteRow
from llava_serve.storage.database import make_tables, open_database, require_table, translated
from llava_serve.storage.folder_tables import FolderAnswerRow, FolderImageRow, FolderRow
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.preset_tables import PresetRow
from llava_serve.storage.tables import (
    ComparedRow,
    ConversationRow,
    SharedRow,
    Table,
    TurnMediaRow,
    TurnRow,
    VoteRow,
)

INTERRUPTED = "interrupted"  # the state of an answer whose process ended before it did
_PAGE = 100
_NO_OBJECTS = {"synchronize_session": False}  # the session has loaded none of the rows
WHOLE = (
    selectinload(ConversationRow.turns).selectinload(TurnRow.media),
    selectinload(ConversationRow.votes).selectinload(VoteRow.compared),
)


@dataclass(frozen=True)
class Deleted:
    """How many conversations are gone, and the stored files that nobody has any more."""

    conversations: int
    filenames: list[str]


class Store:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        with translated():
            self._engine = open_database(url)
            self._sessions = sessionmaker(self._engine)

    def now(self) -> float:
        """Return the time that is written beside a row, in seconds since the epoch."""
        return self._clock()

    def create_tables(self) -> None:
        """Make what is missing, in a database of an older version too.

        Only the owner of a new SQLite file may read it.
        """
        make_tables(self._engine, Table.metadata)
        with translated():
            migration.add_what_is_missing(self._engine, Table.metadata)

    def require_tables(self) -> None:
        """Raise StorageFailed unless there are conversations; make nothing."""
        require_table(self._engine, ConversationRow.__tablename__, "conversations")

    def add_turns(
        self,
        conversation_id: str,
        kind: str,
        turns: Sequence[TurnRow],
        whose: Identity = NOBODY,
    ) -> list[int]:
        """Append turns to a conversation, which begins with its first; return their ids."""
        now = self._clock()
        with self.transaction() as session:
            row = session.get(ConversationRow, conversation_id)
            if row is None:
                row = ConversationRow(id=conversation_id, kind=kind, created_at=now)
                row.owner, row.browser = whose.owner, whose.browser
                session.add(row)
            row.used_at = now
            for turn in turns:
                turn.conversation_id, turn.created_at = conversation_id, now
                session.add(turn)
                session.flush()  # one by one: the order of ids is the order of turns
            return [turn.id for turn in turns]

    def mark_replaced(self, turn_ids: Sequence[int], *, replaced: bool = True) -> None:
        """Say that these turns are shown no longer, or again."""
        with self.transaction() as session:
            session.execute(
                update(TurnRow).where(TurnRow.id.in_(turn_ids)).values(replaced=replaced)
            )

    def update_turn(self, turn_id: int, text: str, details: dict[str, Any]) -> None:
        """Write down how far an answer has come."""
        with self.transaction() as session:
            values = {"text": text, "details": details}
            session.execute(update(TurnRow).where(TurnRow.id == turn_id).values(values))

    def mark_interrupted(self) -> None:
        """Say of the answers that were running when their process ended that they are not.

        To be called before the first question of a process: one that shares the database with
        another process does no lasting harm, as that one writes its answers' ends all the same.
        """
        state = TurnRow.details["state"].as_string()
        with self.transaction() as session:
            for turn in session.scalars(select(TurnRow).where(state.in_(("waiting", "running")))):
                turn.details = turn.details | {"state": INTERRUPTED}

    def add_vote(
        self,
        conversation_id: str,
        turn_id: int,
        kind: str,
        *,
        model: str | None = None,
        compared: Sequence[int] = (),
    ) -> int:
        """Append a vote; earlier ones stay. Return its id.

        `model` and the turns that were `compared` belong to the votes of a comparison.
        """
        vote = VoteRow(
            conversation_id=conversation_id,
            turn_id=turn_id,
            kind=kind,
            model=model,
            created_at=self._clock(),
            compared=[ComparedRow(turn_id=one) for one in compared],
        )
        with self.transaction() as session:
            session.add(vote)
            session.flush()
            return vote.id

    def has_media(self, owner: str, sha256: str) -> bool:
        """Tell whether a conversation or a folder of a user has a file."""
        wanted = (
            select(TurnMediaRow.turn_id)
            .join(TurnRow, TurnRow.id == TurnMediaRow.turn_id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(TurnMediaRow.sha256 == sha256, ConversationRow.owner == owner)
        )
        in_folder = (
            select(FolderImageRow.position)
            .join(FolderRow, FolderRow.id == FolderImageRow.folder_id)
            .where(FolderImageRow.sha256 == sha256, FolderRow.owner == owner)
        )
        with translated(), self._sessions() as session:
            found = (session.scalars(one.limit(1)).first() for one in (wanted, in_folder))
            return any(one is not None for one in found)

    def conversations(self, owner: str | None = None) -> Iterator[ConversationRow]:
        """Yield every conversation, or a user's, with turns, media and votes, oldest first."""
        with translated(), self._sessions() as session:
            rows = session.scalars(
                select(ConversationRow)
                .where(*_of(owner))
                .order_by(ConversationRow.created_at, ConversationRow.id)
                .options(*WHOLE)
                .execution_options(yield_per=_PAGE)
            )
            yield from rows

    def conversation(self, conversation_id: str) -> ConversationRow | None:
        """Return one conversation with turns, media and votes, or None when there is none."""
        wanted = select(ConversationRow).where(ConversationRow.id == conversation_id)
        with translated(), self._sessions() as session:
            return session.scalars(wanted.options(*WHOLE)).one_or_none()

    def delete_before(self, before: float, owner: str | None = None) -> Deleted:
        """Delete what began, or was saved, before a time, in seconds since the epoch.

        Given a user, it deletes theirs only.
        """
        is_theirs = [] if owner is None else [FolderRow.owner == owner]
        with self.transaction() as session:
            _, files = delete_folders(session, [FolderRow.created_at < before, *is_theirs])
            is_mine = [] if owner is None else [PresetRow.whose == Identity(owner).key]
            presets = delete(PresetRow).where(PresetRow.saved_at < before, *is_mine)
            session.execute(presets, execution_options=_NO_OBJECTS)
            old = (ConversationRow.created_at < before, *_of(owner))
            deleted = delete_conversations(session, old)
            unused = {name for name in files if not is_used(session, name)}
            return Deleted(deleted.conversations, sorted({*deleted.filenames, *unused}))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Keep all that the block does, or where it raises nothing of it."""
        with translated(), self._sessions.begin() as session:
            yield session


def delete_conversations(session: Session, which: Sequence[ColumnElement[bool]]) -> Deleted:
    """Delete conversations with all that belongs to them.

    Of their battles the models and the votes stay, and not what a judge failed at.
    """
    old = select(ConversationRow.id).where(*which)
    turns = select(TurnRow.id).where(TurnRow.conversation_id.in_(old))
    votes = select(VoteRow.id).where(VoteRow.conversation_id.in_(old))
    count = len(session.scalars(old).all())
    had = _filenames(session, TurnMediaRow.turn_id.in_(turns))
    fought = select(BattleRow.id).where(BattleRow.conversation_id.in_(old))
    failed = and_(BattleVoteRow.winner.is_(None), BattleVoteRow.battle_id.in_(fought))
    session.execute(delete(BattleVoteRow).where(failed), execution_options=_NO_OBJECTS)
    battles = update(BattleRow).where(BattleRow.conversation_id.in_(old))
    session.execute(battles.values(conversation_id=None), execution_options=_NO_OBJECTS)
    for row, one in (
        (ComparedRow, ComparedRow.vote_id.in_(votes)),
        (VoteRow, VoteRow.conversation_id.in_(old)),
        (SharedRow, SharedRow.conversation_id.in_(old)),
        (TurnMediaRow, TurnMediaRow.turn_id.in_(turns)),
        (TurnRow, TurnRow.conversation_id.in_(old)),
        (ConversationRow, and_(*which)),
    ):
        session.execute(delete(row).where(one), execution_options=_NO_OBJECTS)
    return Deleted(count, sorted(filename for filename in had if not is_used(session, filename)))


def delete_folders(session: Session, which: Sequence[ColumnElement[bool]]) -> tuple[int, list[str]]:
    """Delete folders; return their number, and the stored files that nobody has any more."""
    old = [*session.scalars(select(FolderRow.id).where(*which))]
    images = select(FolderImageRow.sha256, FolderImageRow.extension)
    rows = session.execute(images.where(FolderImageRow.folder_id.in_(old)).distinct())
    had = sorted(f"{row.sha256}.{row.extension}" for row in rows)
    for row_type in (FolderAnswerRow, FolderImageRow):
        gone = delete(row_type).where(row_type.folder_id.in_(old))
        session.execute(gone, execution_options=_NO_OBJECTS)
    session.execute(delete(FolderRow).where(FolderRow.id.in_(old)), execution_options=_NO_OBJECTS)
    return len(old), [filename for filename in had if not is_used(session, filename)]


def _of(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [ConversationRow.owner == owner]


def _filenames(session: Session, which: ColumnElement[bool]) -> set[str]:
    files = select(TurnMediaRow.sha256, TurnMediaRow.extension).where(which).distinct()
    return {f"{row.sha256}.{row.extension}" for row in session.execute(files)}


def is_used(session: Session, filename: str) -> bool:
    sha256, _, extension = filename.partition(".")
    uses = (
        select(row.sha256).where(row.sha256 == sha256, row.extension == extension).limit(1)
        for row in (TurnMediaRow, FolderImageRow)
    )
    return any(session.scalars(one).first() is not None for one in uses)


def default_url(state_dir: Path) -> str:
    return f"sqlite:///{state_dir / 'conversations.sqlite'}"
