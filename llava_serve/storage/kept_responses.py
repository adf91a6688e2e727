"""Kept responses: what an answer was asked and what it said, to be gone on with by its id.

Each row has what is new in it; what came before is found by the id of the one before it.
"""

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, String, and_, delete, func, select, true, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from llava_serve.storage import migration
from llava_serve.storage.database import make_tables, open_database, translated

MOST_BYTES = 1_000_000_000  # of one owner; the oldest go first
_OWNERS = 10  # that may have all of theirs at once
_LONGEST = 1000  # responses that go on with each other
_DAY_S = 86_400
_UNFINISHED_S = 3_600  # for which an answer may take
_SWEPT_AT_ONCE = 20  # so that nobody waits long for the database meanwhile


class ResponseTable(DeclarativeBase):
    pass


class ResponseRow(ResponseTable):
    """One response; `said` is JSON of the items that it was asked with, and `told` of itself.

    Without `told` it is not finished. The long columns are the last: SQLite reads a row from its
    beginning, and only as far as it is asked for.
    """

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255), index=True)
    previous_id: Mapped[str | None] = mapped_column(String(160))
    size_bytes: Mapped[int]
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    told: Mapped[bytes | None] = mapped_column(LargeBinary(2**31 - 1))
    said: Mapped[bytes] = mapped_column(LargeBinary(2**31 - 1))


@dataclass(frozen=True, slots=True)
class Trail:
    """The ids of responses that go on with each other, the last one first, and their bytes."""

    ids: tuple[str, ...]
    size_bytes: int


class KeptResponses:
    """Those of each owner, for `days` since they were made or gone on with last.

    Every method blocks: call it off the event loop. Every one may raise StorageFailed.
    """

    def __init__(
        self,
        url: str,
        days: float,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._days = days
        self._most_bytes = most_bytes
        self._total_bytes = _OWNERS * most_bytes
        self._added_bytes = 0  # since all were counted last, which takes long
        self._clock = clock
        with translated():
            self._engine = open_database(url)
            self._sessions = sessionmaker(self._engine)

    def create_tables(self) -> None:
        """Make what is missing; only the owner of a new SQLite file may read it."""
        make_tables(self._engine, ResponseTable.metadata)
        with translated():
            migration.add_what_is_missing(self._engine, ResponseTable.metadata)

    def close(self) -> None:
        self._engine.dispose()

    def begin(
        self, owner: str, response_id: str, said: list[Any], previous_id: str | None = None
    ) -> None:
        """Keep what a response is asked with, so that nobody need hold it while it is answered.

        Until it is finished nobody finds it, and it is in nobody's way.
        """
        now = self._clock()
        row = ResponseRow(
            id=response_id,
            owner=owner,
            previous_id=previous_id,
            said=json.dumps(said).encode(),
            created_at=now,
            expires_at=now + _UNFINISHED_S,
        )
        row.size_bytes = len(row.said)
        with translated(), self._sessions.begin() as session:
            session.add(row)

    def finish(self, told: dict[str, Any]) -> None:
        """Keep a response that was begun, as it is `told`, in place of its owner's oldest.

        And of everybody's oldest, where all owners together have too much.
        """
        encoded, response_id = json.dumps(told).encode(), told["id"]
        begun = select(ResponseRow.owner, ResponseRow.size_bytes)
        with translated(), self._sessions.begin() as session:
            row = session.execute(begun.where(ResponseRow.id == response_id)).first()
            if row is None:  # it took too long
                return
            size_bytes = row.size_bytes + len(encoded)
            _make_room(session, ResponseRow.owner == row.owner, self._most_bytes - size_bytes)
            self._added_bytes += size_bytes
            if self._added_bytes > self._most_bytes // 10:
                self._added_bytes = 0
                _make_room(session, true(), self._total_bytes - size_bytes)
            values = {"told": encoded, "size_bytes": size_bytes, "expires_at": self._expiry()}
            session.execute(update(ResponseRow).where(ResponseRow.id == response_id).values(values))

    def sweep(self) -> None:
        """Remove what has expired, and the oldest where all owners together have too much."""
        expired = select(ResponseRow.id).where(ResponseRow.expires_at <= self._clock())
        some = expired.limit(_SWEPT_AT_ONCE)
        with translated():
            while True:
                with self._sessions.begin() as session:
                    if not (gone := session.scalars(some).all()):
                        _make_room(session, true(), self._total_bytes)
                        return
                    session.execute(delete(ResponseRow).where(ResponseRow.id.in_(gone)))

    def discard(self, response_id: str) -> None:
        """Forget a response that was begun and is not finished, if there is one."""
        unfinished = and_(ResponseRow.id == response_id, ResponseRow.told.is_(None))
        with translated(), self._sessions.begin() as session:
            session.execute(delete(ResponseRow).where(unfinished))

    def find(self, owner: str, response_id: str) -> dict[str, Any] | None:
        """Return a response; None where the owner has no such one."""
        return self.find_all(owner, [response_id]).get(response_id)

    def find_all(self, owner: str, response_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return those of some responses that the owner has, by their ids."""
        wanted = select(ResponseRow.id, ResponseRow.told).where(self._among(owner, response_ids))
        with translated(), self._sessions() as session:
            found = session.execute(wanted)
            return {response_id: json.loads(told or b"{}") for response_id, told in found}

    def sizes(self, owner: str, response_ids: Collection[str]) -> dict[str, int]:
        """Return the bytes of what `find_all` would return."""
        wanted = select(ResponseRow.id, func.length(ResponseRow.told).label("told_bytes"))
        with translated(), self._sessions() as session:
            found = session.execute(wanted.where(self._among(owner, response_ids)))
            return {row.id: row.told_bytes for row in found}

    def trail(self, owner: str, response_id: str, most_bytes: int) -> Trail | None:
        """Return what `conversation` takes; it ends where it has more than `most_bytes`.

        None: the owner has no such response, or one that came before it is there no more.
        """
        step = select(ResponseRow.previous_id, ResponseRow.size_bytes)
        ids: list[str] = []
        size_bytes = 0
        at: str | None = response_id
        with translated(), self._sessions() as session:
            while at is not None and size_bytes <= most_bytes:
                row = session.execute(step.where(self._among(owner, [at]))).first()
                if row is None or len(ids) == _LONGEST:
                    return None
                ids.append(at)
                size_bytes += row.size_bytes
                at = row.previous_id
        return Trail(tuple(ids), size_bytes)

    def conversation(self, owner: str, trail: Trail) -> list[Any] | None:
        """Return all items of a trail in their order; its responses are kept for as long again.

        None: one of them is there no more.
        """
        own = self._among(owner, trail.ids)
        wanted = select(ResponseRow.id, ResponseRow.said, ResponseRow.told).where(own)
        with translated(), self._sessions.begin() as session:
            items = {
                response_id: json.loads(said) + json.loads(told or b"{}")["output"]
                for response_id, said, told in session.execute(wanted)
            }
            if len(items) < len(set(trail.ids)):
                return None
            session.execute(update(ResponseRow).where(own).values(expires_at=self._expiry()))
        return [item for response_id in reversed(trail.ids) for item in items[response_id]]

    def delete(self, owner: str, response_id: str) -> bool:
        """Forget a response; False where the owner has no such one."""
        own = self._among(owner, [response_id])
        with translated(), self._sessions.begin() as session:
            gone = delete(ResponseRow).where(own).returning(ResponseRow.id)
            return session.scalar(gone) is not None

    def _among(self, owner: str, response_ids: Collection[str]) -> ColumnElement[bool]:
        """Return what is true of finished responses of an owner that have one of some ids."""
        return and_(
            ResponseRow.id.in_(response_ids),
            ResponseRow.owner == owner,
            ResponseRow.told.is_not(None),
            ResponseRow.expires_at > self._clock(),
        )

    def _expiry(self) -> float:
        return self._clock() + self._days * _DAY_S


def _make_room(session: Session, among: ColumnElement[bool], left_bytes: int) -> None:
    """Delete the oldest finished rows among some until the others take `left_bytes` at most."""
    finished = and_(among, ResponseRow.told.is_not(None))
    total = session.scalar(select(func.sum(ResponseRow.size_bytes)).where(finished)) or 0
    if total <= left_bytes:
        return
    rows = select(ResponseRow.created_at, ResponseRow.size_bytes).where(finished)
    latest = None
    # What is still being read would keep SQLite from writing after somebody else.
    with session.execute(rows.order_by(ResponseRow.created_at)) as oldest:
        while total > left_bytes and (row := oldest.fetchone()) is not None:
            latest = row.created_at
            total -= row.size_bytes
    if latest is not None:
        session.execute(delete(ResponseRow).where(finished, ResponseRow.created_at <= latest))
