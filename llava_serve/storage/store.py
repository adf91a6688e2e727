"""Conversations, turns and votes in a database."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, selectinload, sessionmaker

from llava_serve.errors import StorageFailed
from llava_serve.storage.media import StoredFile
from llava_serve.storage.tables import ConversationRow, Table, TurnMediaRow, TurnRow, VoteRow

_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class NewTurn:
    """One message to keep; `details` holds parameters, usage, timings or the error, as JSON."""

    exchange: int
    role: str
    text: str
    model: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    files: Sequence[StoredFile] = ()


class Store:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        with _translated():
            self._engine = _engine(url)
            Table.metadata.create_all(self._engine)
            self._sessions = sessionmaker(self._engine)

    def add_turns(self, conversation_id: str, kind: str, turns: Sequence[NewTurn]) -> list[int]:
        """Append turns to a conversation, which begins with its first; return their ids."""
        now = self._clock()
        with self._transaction() as session:
            if session.get(ConversationRow, conversation_id) is None:
                session.add(ConversationRow(id=conversation_id, kind=kind, created_at=now))
                session.flush()
            rows = [_turn_row(conversation_id, turn, now) for turn in turns]
            session.add_all(rows)
            session.flush()
            return [row.id for row in rows]

    def mark_replaced(self, turn_ids: Sequence[int]) -> None:
        """Say that these turns were edited or regenerated."""
        with self._transaction() as session:
            session.execute(update(TurnRow).where(TurnRow.id.in_(turn_ids)).values(replaced=True))

    def add_vote(
        self, conversation_id: str, turn_id: int, kind: str, model: str | None = None
    ) -> int:
        """Append a vote; earlier ones stay. Return its id."""
        vote = VoteRow(
            conversation_id=conversation_id,
            turn_id=turn_id,
            kind=kind,
            model=model,
            created_at=self._clock(),
        )
        with self._transaction() as session:
            session.add(vote)
            session.flush()
            return vote.id

    def conversations(self) -> Iterator[ConversationRow]:
        """Yield every conversation with turns, media and votes, oldest first."""
        with _translated(), self._sessions() as session:
            rows = session.scalars(
                select(ConversationRow)
                .order_by(ConversationRow.created_at, ConversationRow.id)
                .options(
                    selectinload(ConversationRow.turns).selectinload(TurnRow.media),
                    selectinload(ConversationRow.votes),
                )
                .execution_options(yield_per=_PAGE)
            )
            yield from rows

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with _translated(), self._sessions.begin() as session:
            yield session


def default_url(state_dir: Path) -> str:
    """Name the SQLite file of a state folder, which is made when it is missing."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageFailed(f"the state folder {state_dir} cannot be made: {exc.strerror}") from exc
    return f"sqlite:///{state_dir / 'conversations.sqlite'}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        raise StorageFailed(f"the database refused: {reason}") from exc
    except ImportError as exc:  # the URL names a driver that is not installed
        raise StorageFailed(f"the database's driver is missing: {exc}") from exc


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if make_url(url).get_backend_name() == "sqlite":

        @event.listens_for(engine, "connect")
        def set_pragmas(connection: Any, _: Any) -> None:
            # Readers (an export) do not wait for the page's writes, nor block them.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA busy_timeout=5000")

    return engine


def _turn_row(conversation_id: str, turn: NewTurn, now: float) -> TurnRow:
    return TurnRow(
        conversation_id=conversation_id,
        exchange=turn.exchange,
        role=turn.role,
        text=turn.text,
        model=turn.model,
        details=turn.details,
        created_at=now,
        media=[
            TurnMediaRow(
                position=position,
                sha256=file.sha256,
                extension=file.filetype.extension,
                name=file.name[:255],
            )
            for position, file in enumerate(turn.files)
        ],
    )
