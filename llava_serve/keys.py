"""API keys' command: make, list, take back and renew the keys that clients show."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey, IssuedKey
from llava_serve.args import parse, require_positive
from llava_serve.config import STATE
from llava_serve.errors import CommandError, StorageFailed
from llava_serve.storage.database import make_state_dir

_USAGE = """usage: python -m llava_serve.keys create --name NAME [limits]
       python -m llava_serve.keys list
       python -m llava_serve.keys revoke --name NAME
       python -m llava_serve.keys rotate --name NAME

Each takes --state-dir or --database, as the controller does; create --help lists the limits."""


@dataclass(frozen=True, kw_only=True)
class AccountsConfig:
    state_dir: Annotated[Path, "state folder of the controller"] = STATE
    database: Annotated[
        str | None, "SQLAlchemy URL of keys and usage; default: SQLite in the state folder"
    ] = None

    @contextmanager
    def opened(self) -> Iterator[AccountStore]:
        """Open the accounts, which are made when there are none."""
        if self.database is None:
            make_state_dir(self.state_dir)
        store = AccountStore(self.database or default_url(self.state_dir))
        try:
            store.create_tables()
            yield store
        finally:
            store.close()


@dataclass(frozen=True, kw_only=True)
class ListConfig(AccountsConfig):
    """Show every key with its limits; secrets are kept nowhere."""


@dataclass(frozen=True, kw_only=True)
class NamedConfig(AccountsConfig):
    name: Annotated[str, "name or id of the key"]


@dataclass(frozen=True, kw_only=True)
class CreateConfig(NamedConfig):
    """Make a key and show it once. A limit that is not given does not exist."""

    role: Annotated[Literal["user", "admin"], "admin keys may use /admin and see the metrics"] = (
        "user"
    )
    models: Annotated[tuple[str, ...], "models it may ask; default: all of them"] = ()
    requests_per_minute: Annotated[int | None, "requests in a minute"] = None
    tokens_per_minute: Annotated[int | None, "tokens of prompts and answers in a minute"] = None
    max_parallel: Annotated[int | None, "answers made at once"] = None
    monthly_tokens: Annotated[int | None, "tokens in a calendar month, in UTC"] = None
    expires: Annotated[str | None, "last day it is good, as 2027-01-31, in UTC"] = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > 255:
            raise ValueError("--name must be 1 to 255 printable characters")
        require_positive(self, "requests_per_minute", "tokens_per_minute")
        require_positive(self, "max_parallel", "monthly_tokens")
        if self.expires_at is not None and self.expires_at <= time.time():
            raise ValueError(f"--expires {self.expires} is over already")

    @property
    def expires_at(self) -> float | None:
        """The first second at which it is not good any more."""
        if self.expires is None:
            return None
        try:
            day = datetime.strptime(self.expires, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError as exc:
            raise ValueError(
                f"--expires takes a date like 2027-01-31, not {self.expires!r}"
            ) from exc
        return day.timestamp() + 86_400

    @property
    def key(self) -> ApiKey:
        return ApiKey(
            id="",
            name=self.name,
            role=self.role,
            models=self.models,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            max_parallel=self.max_parallel,
            monthly_tokens=self.monthly_tokens,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, kw_only=True)
class RevokeConfig(NamedConfig):
    """Take a key back for good: within 5 seconds every controller refuses it."""


@dataclass(frozen=True, kw_only=True)
class RotateConfig(NamedConfig):
    """Give a key a new secret, which is shown once; its limits stay, the old secret ends."""


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["create", *flags]:
                config = parse(CreateConfig, flags)
                with config.opened() as store:
                    _show(config.name, store.create(config.key))
            case ["list", *flags]:
                with parse(ListConfig, flags).opened() as store:
                    sys.stdout.write(table(store, time.time()))
            case ["revoke", *flags]:
                named = parse(RevokeConfig, flags)
                with named.opened() as store:
                    sys.stdout.write(f"{store.revoke(named.name).name} is revoked\n")
            case ["rotate", *flags]:
                rotated = parse(RotateConfig, flags)
                with rotated.opened() as store:
                    _show(rotated.name, store.rotate(rotated.name))
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE + "\n")
            case _:
                raise SystemExit(_USAGE)
    except (StorageFailed, CommandError) as exc:
        raise SystemExit(exc.with_remedy) from exc


def table(store: AccountStore, now: float) -> str:
    """Return the keys of a store, one a line, without their secrets."""
    used = store.tokens_this_month()
    head = ("id", "name", "role", "state", "models", "req/min", "tok/min", "at once", "tok/month")
    rows: list[tuple[str, ...]] = [head]
    for key, _ in store.all_keys():
        budget = f"{used.get(key.id, 0)}/{_or_all(key.monthly_tokens)}"
        limits = (key.requests_per_minute, key.tokens_per_minute, key.max_parallel)
        models = ",".join(key.models) or "all"
        rows.append(
            (key.id, key.name, key.role, key.state(now), models, *map(_or_all, limits), budget)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)) for r in rows
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def _or_all(limit: int | None) -> str:
    return "-" if limit is None else str(limit)


def _show(name: str, issued: IssuedKey) -> None:
    sys.stdout.write(
        f"{issued.text}\n\nThis is the only time the key of {name} is shown. A client sends it as\n"
        f'  curl -H "Authorization: Bearer {issued.text}" http://CONTROLLER:10000/v1/models\n'
    )


if __name__ == "__main__":
    main()
