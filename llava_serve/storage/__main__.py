"""The commands `python -m llava_serve.storage export`, `… delete` and `… ratings`."""

import io
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from llava_serve.arena.tally import Tag
from llava_serve.args import parse
from llava_serve.errors import StorageFailed
from llava_serve.storage import export, ratings
from llava_serve.storage.battles import Battles, Voters
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store_config import StoreConfig

_PROGRAM = "python -m llava_serve.storage"
_USAGE = (
    "usage: python -m llava_serve.storage export [--state-dir D] [--database URL] [--owner U] "
    "[--output F]\n"
    "       python -m llava_serve.storage delete [--state-dir D] [--database URL] [--owner U] "
    "--before DATE\n"
    "       python -m llava_serve.storage ratings [--state-dir D] [--database URL] [--tag T] "
    "[--votes people|judge|all] [--style-control] [--json]"
)


@dataclass(frozen=True, kw_only=True)
class PlaceConfig(StoreConfig):
    owner: Annotated[
        str | None, "only the conversations of this user, as an export names the owner"
    ] = None


@dataclass(frozen=True, kw_only=True)
class ExportConfig(PlaceConfig):
    """Write every conversation as one line of JSON."""

    output: Annotated[str, "file to write; - is standard output"] = "-"


@dataclass(frozen=True, kw_only=True)
class DeleteConfig(PlaceConfig):
    """Delete conversations, folders and presets, and the pictures that nobody else has.

    Votes of the arena stay with the names of the models: nothing tells whose they were. Stop the
    web server first: what its open tabs still show would lose its pictures.
    """

    before: Annotated[str, "delete what began or was saved before this date, as 2026-01-31"]

    def __post_init__(self) -> None:
        try:
            datetime.fromisoformat(self.before)
        except ValueError as exc:
            raise ValueError(f"--before takes a date like 2026-01-31, not {self.before!r}") from exc


@dataclass(frozen=True, kw_only=True)
class RatingsConfig(StoreConfig):
    """Rate the models of the arena by the votes on their battles."""

    tag: Annotated[Tag | None, "only battles of this task"] = None
    votes: Annotated[Voters, "whose votes are counted"] = "people"
    style_control: Annotated[bool, "take out what longer answers win by their length"] = False
    json: Annotated[bool, "print one JSON object instead of tables"] = False


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["export", *flags]:
                _export(parse(ExportConfig, flags, program=f"{_PROGRAM} export"))
            case ["delete", *flags]:
                _delete(parse(DeleteConfig, flags, program=f"{_PROGRAM} delete"))
            case ["ratings", *flags]:
                _rate(parse(RatingsConfig, flags, program=f"{_PROGRAM} ratings"))
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


def _rate(config: RatingsConfig) -> None:
    with config.opened() as store:
        voters, tag = config.votes, config.tag
        board = ratings.rated(Battles(store), voters, tag, style_control=config.style_control)
    text = ratings.as_json(board, voters, tag) if config.json else ratings.as_text(board)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
