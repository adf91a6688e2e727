"""Database connection: SQLAlchemy engines with SQLite's settings, and their errors by our names."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, Table, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from llava_serve.errors import StorageFailed
from llava_serve.retry import jittered_backoff_s

_ATTEMPTS = 6  # to make a table beside other processes
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.2

_URL = "such as sqlite:////srv/llava.sqlite or postgresql+psycopg://USER:PASSWORD@HOST/NAME"


def make_state_dir(state_dir: Path) -> None:
    """Make the state folder when it is missing, for its owner's eyes only."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise StorageFailed(f"the state folder {state_dir} cannot be made: {exc.strerror}") from exc


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageFailed for what SQLAlchemy raises, and for rows that cannot be read."""
    try:
        yield
    except ArgumentError as exc:
        unknown = isinstance(exc, NoSuchModuleError)
        reason = f"it knows no driver of that name ({exc})" if unknown else str(exc)
        remedy = f"--database takes a URL of SQLAlchemy's, {_URL}."
        raise StorageFailed(f"the database refused: {reason}", remedy) from exc
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        raise StorageFailed(f"the database refused: {reason}") from exc
    except OSError as exc:
        raise StorageFailed(f"the database cannot be reached: {exc.strerror or exc}") from exc
    except (ValueError, TypeError, OverflowError) as exc:
        raise StorageFailed(f"the database holds what cannot be read: {exc}") from exc
    except ImportError as exc:  # the URL names a driver that is not installed
        remedy = f"Install it, or give --database a URL with another one, {_URL}."
        raise StorageFailed(f"the database's driver is missing: {exc}", remedy) from exc


def open_database(url: str) -> Engine:
    """Return an engine for a SQLAlchemy URL; nothing is opened before it is used."""
    engine = create_engine(url)
    if make_url(url).get_backend_name() == "sqlite":

        @event.listens_for(engine, "connect")
        def set_pragmas(connection: Any, _: Any) -> None:
            # Readers (an export) do not wait for the page's writes, nor block them.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA busy_timeout=5000")
            connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
            # SQLite's own knows the letters of English only.
            connection.create_function("lower", 1, _lower, deterministic=True)

    return engine


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def file_of(engine: Engine) -> Path | None:
    """Return the file of a SQLite database; None for every other one."""
    url = engine.url
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if is_file else None


def require_table(engine: Engine, table: str, kept: str) -> None:
    """Raise StorageFailed unless a table is there, which has what is `kept`; make nothing."""
    file = file_of(engine)
    there = file is None or file.exists()  # to look into it would make the file
    with translated():
        if there and inspect(engine).has_table(table):
            return
    where = file or engine.url.render_as_string(hide_password=True)
    raise StorageFailed(f"there are no {kept} at {where}")


def make_tables(engine: Engine, metadata: MetaData) -> None:
    """Make the tables that are missing, while other processes may do the same.

    Only the owner of a new SQLite file may read it.
    """
    if (file := file_of(engine)) is not None:
        with suppress(OSError):  # SQLite says why in a moment
            file.touch(mode=0o600)  # the files of its log take this mode too
    with translated():
        for table in metadata.sorted_tables:
            _make(table, engine)


def _make(table: Table, engine: Engine) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            table.create(engine, checkfirst=True)
            return
        except DBAPIError as exc:  # another process has just made it, or makes the file
            is_away = isinstance(exc, OperationalError) and engine.dialect.name != "sqlite"
            if is_away or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(jittered_backoff_s(attempt, _FIRST_WAIT_S, _LONGEST_WAIT_S))
