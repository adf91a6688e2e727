"""Database connection: SQLAlchemy engines with SQLite's settings, and their errors by our names."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from llava_serve.errors import StorageFailed


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
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        raise StorageFailed(f"the database refused: {reason}") from exc
    except (ValueError, TypeError) as exc:
        raise StorageFailed(f"the database holds what cannot be read: {exc}") from exc
    except ImportError as exc:  # the URL names a driver that is not installed
        raise StorageFailed(f"the database's driver is missing: {exc}") from exc


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


def touch(engine: Engine) -> None:
    """Make the file of a SQLite database where it is missing, for its owner alone."""
    if (file := file_of(engine)) is not None:
        with suppress(OSError):  # SQLite says why in a moment
            file.touch(mode=0o600)  # the files of its log take this mode too
