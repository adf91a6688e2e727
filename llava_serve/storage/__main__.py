"""The commands `python -m llava_serve.storage export` and `… delete`."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from llava_serve.args import parse
from llava_serve.config import STATE
from llava_serve.errors import StorageFailed
from llava_serve.storage import export
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url

_PROGRAM = "python -m llava_serve.storage"
_USAGE = (
    "usage: python -m llava_serve.storage export [--state-dir D] [--database URL] [--owner U] "
    "[--output F]\n"
    "       python -m llava_serve.storage delete [--state-dir D] [--database URL] [--owner U] "
    "--before DATE"
)


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    state_dir: Annotated[Path, "folder the web server keeps its conversations in"] = STATE
    database: Annotated[
        str | None, "SQLAlchemy URL of the conversations; default: SQLite in the state folder"
    ] = None
    owner: Annotated[
        str | None, "only the conversations of this user, as an export names the owner"
    ] = None

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Open the store that is there; none is made by looking for it."""
        store = Store(self.database or default_url(self.state_dir))
        try:
            store.require_tables()
            store.create_tables()  # those that an older version did not have
            yield store
        finally:
            store.close()


@dataclass(frozen=True, kw_only=True)
class ExportConfig(PlaceConfig):
    """Write every conversation as one line of JSON."""

    output: Annotated[str, "file to write; - is standard output"] = "-"


@dataclass(frozen=True, kw_only=True)
class DeleteConfig(PlaceConfig):
    """Delete conversations with their votes, and the pictures that no other conversation has.

    Stop the web server first: what its open tabs still show would lose its pictures.
    """

    before: Annotated[str, "delete what began before this date, as 2026-01-31"]

    def __post_init__(self) -> None:
        try:
            datetime.fromisoformat(self.before)
        except ValueError as exc:
            raise ValueError(f"--before takes a date like 2026-01-31, not {self.before!r}") from exc


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["export", *flags]:
                _export(parse(ExportConfig, flags, program=f"{_PROGRAM} export"))
            case ["delete", *flags]:
                _delete(parse(DeleteConfig, flags, program=f"{_PROGRAM} delete"))
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE + "\n")
            case _:
                raise SystemExit(_USAGE)
    except StorageFailed as exc:
        raise SystemExit(exc.with_remedy) from exc


def _export(config: ExportConfig) -> None:
    try:
        with config.opened() as store:
            if config.output == "-":
                if isinstance(sys.stdout, io.TextIOWrapper):  # the same bytes as in a file
                    sys.stdout.reconfigure(encoding="utf-8")
                sys.stdout.writelines(export.lines(store, config.owner))
            else:
                with Path(config.output).open("w", encoding="utf-8") as out:
                    out.writelines(export.lines(store, config.owner))
    except OSError as exc:
        raise SystemExit(f"cannot write {config.output}: {exc.strerror}") from exc


def _delete(config: DeleteConfig) -> None:
    before = datetime.fromisoformat(config.before).timestamp()
    media = MediaStore(config.state_dir / "media", limit_bytes=0)
    with config.opened() as store:
        deleted = store.delete_before(before, config.owner)
        for filename in deleted.filenames:
            media.delete(filename)
    sys.stdout.write(
        f"deleted {deleted.conversations} conversations and {len(deleted.filenames)} files\n"
    )


if __name__ == "__main__":
    main()
