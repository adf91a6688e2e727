"""Kept responses: what an answer was asked and what it said, to be gone on with by its id.

Each row has what is new in it; what came before is found by the id of the one before it.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import LargeBinary, String, delete, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from llava_serve.storage import migration
from llava_serve.storage.database import make_tables, open_database, translated

MOST_BYTES = 1_000_000_000  # of one owner; the oldest go first
_LONGEST = 1000  # responses that go on with each other
_DAY_S = 86_400
_UNFINISHED_S = 3_600  # for which an answer may take


class ResponseTable(DeclarativeBase):
    pass


class ResponseRow(ResponseTable):
    """One response; `said` is JSON of the items that it was asked with, and `told` of itself.

    Without `told` it is not finished.
    """

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255), index=True)
    previous_id: Mapped[str | None] = mapped_column(String(160))
    said: Mapped[bytes] = mapped_column(LargeBinary(2**31 - 1))
    told: Mapped[bytes | None] = mapped_column(LargeBinary(2**31 - 1))
    size_bytes: Mapped[int]
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)


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
        """Keep what a response is asked with, in place of what has expired and the owner's oldest.

        So nobody need hold it while it is answered. Until it is finished nobody finds it.
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
            session.execute(delete(ResponseRow).where(ResponseRow.expires_at <= now))
            _make_room(session, owner, self._most_bytes - row.size_bytes)
            session.add(row)

    def finish(self, told: dict[str, Any]) -> None:
        """Keep a response that was begun, as it is `told`."""
        encoded = json.dumps(told).encode()
        values = {
            "told": encoded,
            "size_bytes": ResponseRow.size_bytes + len(encoded),
            "expires_at": self._expiry(),
        }
        with translated(), self._sessions.begin() as session:
            session.execute(update(ResponseRow).where(ResponseRow.id == told["id"]).values(values))

    def find(self, owner: str, response_id: str) -> dict[str, Any] | None:
        """Return a response; None where the owner has no such one."""
        with translated(), self._sessions() as session:
            row = self._row(session, owner, response_id)
            return None if row is None else _told(row)

    def conversation(self, owner: str, response_id: str) -> list[Any] | None:
        """Return all items up to a response and its own, which are kept for as long again.

        None: the owner has no such response, or one that came before it is there no more.
        """
        items: list[Any] = []
        found: list[str] = []
        with translated(), self._sessions.begin() as session:
            at: str | None = response_id
            while at is not None:
                row = self._row(session, owner, at)
                if row is None or len(found) == _LONGEST:
                    return None
                items = json.loads(row.said) + _told(row)["output"] + items
                found.append(at)
                at = row.previous_id
            renewed = update(ResponseRow).where(ResponseRow.id.in_(found))
            session.execute(renewed.values(expires_at=self._expiry()))
        return items

    def delete(self, owner: str, response_id: str) -> bool:
        """Forget a response; False where the owner has no such one."""
        with translated(), self._sessions.begin() as session:
            if (row := self._row(session, owner, response_id)) is None:
                return False
            session.delete(row)
            return True

    def _row(self, session: Session, owner: str, response_id: str) -> ResponseRow | None:
        wanted = select(ResponseRow).where(
            ResponseRow.id == response_id,
            ResponseRow.owner == owner,
            ResponseRow.told.is_not(None),
            ResponseRow.expires_at > self._clock(),
        )
        return session.scalar(wanted)

    def _expiry(self) -> float:
        return self._clock() + self._days * _DAY_S


def _told(row: ResponseRow) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(row.told or b"{}")
    return told


def _make_room(session: Session, owner: str, left_bytes: int) -> None:
    """Delete the owner's oldest rows until those that stay take `left_bytes` at most."""
    own = ResponseRow.owner == owner
    total = session.scalar(select(func.sum(ResponseRow.size_bytes)).where(own)) or 0
    sizes = select(ResponseRow.id, ResponseRow.size_bytes).where(own)
    gone = []
    for row_id, size_bytes in session.execute(sizes.order_by(ResponseRow.created_at)):
        if total <= left_bytes:
            break
        gone.append(row_id)
        total -= size_bytes
    session.execute(delete(ResponseRow).where(ResponseRow.id.in_(gone)))
