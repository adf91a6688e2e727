"""Account store: keys, tokens by month and the audit of requests, in a database."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Select, String, case, func, literal_column, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from llava_serve.accounts.tables import AccountTable, KeyRow, MonthRow, RequestRow
from llava_serve.api_key import ApiKey, IssuedKey, day_of, issue, month_of
from llava_serve.errors import KeyNameTaken, NoSuchKey
from llava_serve.storage import migration
from llava_serve.storage.database import (
    file_of,
    make_tables,
    open_database,
    require_table,
    translated,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRequest:
    """What the audit keeps of one request; `key_id` is None where no key was asked for."""

    at: float
    request_id: str
    key_id: str | None
    model: str
    worker: str
    outcome: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    image_tokens: int = 0
    image_sha256: list[str] = field(default_factory=list)
    client_fields: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """Requests and tokens of one key and model on one day, `2026-01-31` in UTC."""

    day: str
    key: str
    model: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    image_tokens: int


def default_url(state_dir: Path) -> str:
    return f"sqlite:///{state_dir / 'accounts.sqlite'}"


class AccountStore:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        with translated():
            self._engine = open_database(url)
            self._sessions = sessionmaker(self._engine)

    def create_tables(self) -> None:
        """Make what is missing, in a database of an older version too.

        Only the owner of a new SQLite file may read it.
        """
        make_tables(self._engine, AccountTable.metadata)
        with translated():
            migration.add_what_is_missing(self._engine, AccountTable.metadata)

    def require_tables(self) -> None:
        """Raise StorageFailed unless there are accounts; make nothing."""
        require_table(self._engine, KeyRow.__tablename__, "accounts")

    @property
    def place(self) -> str:
        """The URL of the database, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def exists(self) -> bool:
        """Tell whether there is a database; one that is no SQLite file is there or cannot be."""
        file = file_of(self._engine)
        with translated():
            return file is None or file.exists()

    def create(self, key: ApiKey) -> IssuedKey:
        """Keep a new key, whose id and time of creation are set here.

        Raises:
            KeyNameTaken: another key has the name.
        """
        issued = issue()
        values = asdict(key) | {
            "id": issued.id,
            "digest": issued.digest,
            "models": list(key.models),
            "created_at": self._clock(),
        }
        with translated():
            try:
                with self._sessions.begin() as session:
                    session.add(KeyRow(**values))
            except IntegrityError as exc:
                raise KeyNameTaken(key.name) from exc
        return issued

    def all_keys(self) -> list[tuple[ApiKey, str]]:
        """Return every key with its digest, revoked ones too, oldest first."""
        with translated(), self._sessions() as session:
            rows = session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id))
            return [(_key(row), row.digest) for row in rows]

    def revoke(self, name: str) -> ApiKey:
        """Take a key back for good.

        Raises:
            NoSuchKey: none has this name or id.
        """
        with self._transaction() as session:
            row = _row(session, name)
            row.revoked_at = row.revoked_at or self._clock()
            return _key(row)

    def rotate(self, name: str) -> IssuedKey:
        """Give a key a new secret; the one before is good no longer.

        Raises:
            NoSuchKey: none has this name or id, or it is revoked.
        """
        with self._transaction() as session:
            row = _row(session, name)
            if row.revoked_at is not None:
                raise NoSuchKey(name, "is revoked")
            issued = issue(row.id)
            row.digest = issued.digest
            return issued

    def add_tokens(self, tokens: Mapping[str, int]) -> None:
        """Add to this month's tokens, by the id of the key. Several controllers may do so."""
        month = month_of(self._clock())
        with self._transaction() as session:
            for key_id, count in tokens.items():
                more = (
                    update(MonthRow)
                    .where(MonthRow.key_id == key_id, MonthRow.month == month)
                    .values(tokens=MonthRow.tokens + count)
                )
                if not session.execute(more).rowcount:  # type: ignore[attr-defined]
                    session.merge(MonthRow(key_id=key_id, month=month, tokens=count))

    def tokens_this_month(self) -> dict[str, int]:
        """Return this month's tokens by the id of the key."""
        month = month_of(self._clock())
        with translated(), self._sessions() as session:
            rows = session.scalars(select(MonthRow).where(MonthRow.month == month))
            return {row.key_id: row.tokens for row in rows}

    def add_requests(self, requests: Iterable[AuditedRequest]) -> None:
        with self._transaction() as session:
            session.add_all(
                RequestRow(**asdict(request), day=day_of(request.at)) for request in requests
            )

    def usage(self, since: float, until: float) -> list[UsageSum]:
        """Return the sums of the requests that came from `since` until before `until`, by day."""
        with translated(), self._sessions() as session:
            sums = session.execute(usage_query(since, until)).mappings()
            return [UsageSum(**row) for row in sums]

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with translated(), self._sessions.begin() as session:
            yield session


def usage_query(since: float, until: float) -> "Select[*tuple[Any, ...]]":
    """Return the statement whose rows are the fields of `UsageSum`."""
    # A literal: PostgreSQL takes two parameters for two expressions, in SELECT and in GROUP BY.
    nobody = literal_column("''", String)
    key = func.coalesce(KeyRow.name, RequestRow.key_id, nobody).label("key")
    return (
        select(
            RequestRow.day,
            key,
            RequestRow.model,
            func.count().label("requests"),
            func.sum(case((RequestRow.outcome == "ok", 0), else_=1)).label("failed"),
            func.sum(RequestRow.prompt_tokens).label("prompt_tokens"),
            func.sum(RequestRow.completion_tokens).label("completion_tokens"),
            func.sum(RequestRow.image_tokens).label("image_tokens"),
        )
        .join(KeyRow, KeyRow.id == RequestRow.key_id, isouter=True)
        .where(RequestRow.at >= since, RequestRow.at < until)
        .group_by(RequestRow.day, key, RequestRow.model)
        .order_by(RequestRow.day, key, RequestRow.model)
    )


def _row(session: Session, name: str) -> KeyRow:
    wanted = select(KeyRow).where((KeyRow.name == name) | (KeyRow.id == name))
    rows = session.scalars(wanted).all()
    if len(rows) > 1:
        raise NoSuchKey(name, "is the name of one key and the id of another")
    if not rows:
        raise NoSuchKey(name)
    return rows[0]


def _key(row: KeyRow) -> ApiKey:
    values: dict[str, Any] = {each.name: getattr(row, each.name) for each in fields(ApiKey)}
    return ApiKey(**values | {"models": tuple(row.models)})
