"""API keys' command: make, list, take back and renew the keys that clients show."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from llava_serve.accounts.config import AccountsConfig
from llava_serve.accounts.first_key import renew_first_key
from llava_serve.accounts.store import AccountStore
from llava_serve.api_key import ApiKey, IssuedKey, day_of, day_start
from llava_serve.args import Config, parse, require_positive
from llava_serve.errors import CommandError, StorageFailed
from llava_serve.logs import replace_unprintable
from llava_serve.text_table import text_table

_USAGE = """usage: python -m llava_serve.keys create --name NAME [limits]
       python -m llava_serve.keys list
       python -m llava_serve.keys revoke --name NAME
       python -m llava_serve.keys rotate --name NAME

Each takes --state-dir or --database, as the controller does; create --help lists the limits."""


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
    models: Annotated[tuple[str, ...], "models it may ask; all of them where none is named"] = ()
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
        return day_start(self.expires, "--expires") + 86_400

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


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the four commands."""
    replace_unprintable()
    try:
        match sys.argv[1:] if argv is None else list(argv):
            case ["create", *flags]:
                config = _parse(CreateConfig, "create", flags)
                with config.made() as store:
                    _show(config.name, store.create(config.key))
            case ["list", *flags]:
                with _parse(ListConfig, "list", flags).opened() as store:
                    sys.stdout.write(table(store, time.time()))
            case ["revoke", *flags]:
                named = _parse(RevokeConfig, "revoke", flags)
                with named.opened() as store:
                    sys.stdout.write(f"{store.revoke(named.name).name} is revoked\n")
            case ["rotate", *flags]:
                rotated = _parse(RotateConfig, "rotate", flags)
                with rotated.opened() as store:
                    issued = store.rotate(rotated.name)
                _show(rotated.name, issued)  # first: its text is nowhere else
                renew_first_key(issued, rotated.state_dir)
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE + "\n")
            case _:
                sys.stderr.write(_USAGE + "\n")
                raise SystemExit(2)
    except (StorageFailed, CommandError) as exc:
        raise SystemExit(exc.with_remedy) from exc


def _parse(cls: type[Config], command: str, flags: Sequence[str]) -> Config:
    return parse(cls, flags, program=f"python -m llava_serve.keys {command}")


def table(store: AccountStore, now: float) -> str:
    """Return the keys of a store, one a line, without their secrets."""
    used = store.tokens_this_month()
    limit_names = ("req/min", "tok/min", "at once", "tok/month", "last day")
    head = ("id", "name", "role", "state", "models", *limit_names)
    rows: list[tuple[object, ...]] = [head]
    for key, _ in store.all_keys():
        budget = f"{used.get(key.id, 0)}/{_or_all(key.monthly_tokens)}"
        limits = (key.requests_per_minute, key.tokens_per_minute, key.max_parallel)
        models = ",".join(key.models) or "all"
        rows.append(
            (
                *(key.id, key.name, key.role, key.state(now), models),
                *(*map(_or_all, limits), budget, _last_day(key)),
            )
        )
    return text_table(rows)


def _or_all(limit: int | None) -> str:
    return "-" if limit is None else str(limit)


def _last_day(key: ApiKey) -> str:
    return "-" if key.expires_at is None else day_of(key.expires_at - 1)


def _show(name: str, issued: IssuedKey) -> None:
    sys.stdout.write(
        f"{issued.text}\n\nThis is the only time the key of {name} is shown. A client sends it as\n"
        f'  curl -H "Authorization: Bearer {issued.text}" http://CONTROLLER:10000/v1/models\n'
    )


if __name__ == "__main__":
    main()
