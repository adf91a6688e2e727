"""The command `python -m llava_serve.storage export`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.args import parse
from llava_serve.config import STATE
from llava_serve.errors import StorageFailed
from llava_serve.storage import export
from llava_serve.storage.store import Store, default_url

_USAGE = "usage: python -m llava_serve.storage export [--state-dir D] [--database URL] [--output F]"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write every conversation as one line of JSON."""

    state_dir: Annotated[Path, "folder the web server keeps its conversations in"] = STATE
    database: Annotated[
        str | None, "SQLAlchemy URL of the conversations; default: SQLite in the state folder"
    ] = None
    output: Annotated[str, "file to write; - is standard output"] = "-"


def main() -> None:
    match sys.argv[1:]:
        case ["export", *flags]:
            config = parse(ExportConfig, flags)
        case ["-h" | "--help"]:
            sys.stdout.write(_USAGE + "\n")
            return
        case _:
            raise SystemExit(_USAGE)
    try:
        _export(config)
    except StorageFailed as exc:
        raise SystemExit(f"{exc.message}. {exc.remedy}") from exc
    except OSError as exc:
        raise SystemExit(f"cannot write {config.output}: {exc.strerror}") from exc


def _export(config: ExportConfig) -> None:
    file = config.state_dir / "conversations.sqlite"
    if config.database is None and not file.exists():
        raise StorageFailed(f"there are no conversations at {file}")
    store = Store(config.database or default_url(config.state_dir))
    try:
        if config.output == "-":
            sys.stdout.writelines(export.lines(store))
        else:
            with Path(config.output).open("w", encoding="utf-8") as out:
                out.writelines(export.lines(store))
    finally:
        store.close()


if __name__ == "__main__":
    main()
