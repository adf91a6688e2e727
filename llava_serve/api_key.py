"""API key: what a client shows, what is stored of it, and what it allows."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Role = Literal["user", "admin"]

_PREFIX = "sk-llava"
_ID_BYTES = 6
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret. None is no limit; times are seconds since the epoch, UTC.

    `models` are those it may ask, all of them where there are none. `max_parallel` counts answers,
    as slots do. `monthly_tokens` are of prompts and answers together, by calendar month in UTC.
    """

    id: str
    name: str
    role: Role = "user"
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_parallel: int | None = None
    monthly_tokens: int | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None

    @property
    def is_limited(self) -> bool:
        """True where somebody has to count what it uses."""
        counted = (self.requests_per_minute, self.tokens_per_minute)
        return (*counted, self.max_parallel, self.monthly_tokens) != (None,) * 4

    @property
    def counts_tokens(self) -> bool:
        """True where there is a limit of tokens."""
        return (self.tokens_per_minute, self.monthly_tokens) != (None, None)

    def may_ask(self, model: str) -> bool:
        return not self.models or model in self.models

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """Tell whether the key is good at `now`, in seconds since the epoch."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The text of a new key, which is shown once, and what is kept to know it by."""

    text: str
    id: str
    digest: str


def issue(key_id: str | None = None) -> IssuedKey:
    """Draw a new secret, for the key `key_id` or for a new one."""
    key_id = key_id or secrets.token_hex(_ID_BYTES)
    text = f"{_PREFIX}-{key_id}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    return IssuedKey(text, key_id, digest_of(text))


def digest_of(text: str) -> str:
    """Return what is stored of a key.

    A plain hash is enough: the secret has 256 random bits, which nobody can try through, so that a
    slow hash would only make each request slow.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def id_of(text: str) -> str | None:
    """Return the id in the text of a key; None where it is no key of ours."""
    parts = text.split("-", 3)
    return parts[2] if len(parts) == 4 and "-".join(parts[:2]) == _PREFIX else None


def is_same(text: str, digest: str) -> bool:
    """Compare a shown key with a stored digest, in a time that tells nothing of either."""
    return hmac.compare_digest(digest_of(text), digest)


def shown_key(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the key in the header `x-api-key` or `Authorization: Bearer`; names in lower case."""
    bearer = None
    for name, value in headers:
        if name == "x-api-key":
            return value.strip()
        if name == "authorization" and bearer is None:
            scheme, _, token = value.partition(" ")
            bearer = token.strip() if scheme.lower() == "bearer" else None
    return bearer


def month_of(now: float) -> str:
    """Return the calendar month at `now`, in UTC, as `2026-01`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")


def day_of(now: float) -> str:
    """Return the date at `now`, in UTC, as `2026-01-31`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def day_start(day: str, flag: str) -> float:
    """Return the first second of a date like `2026-01-31`, in UTC.

    Raises:
        ValueError: what `flag` was given is no date.
    """
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise ValueError(f"{flag} takes a date like 2027-01-31, not {day!r}") from exc


def seconds_to_next_month(now: float) -> float:
    """Return the seconds until the next calendar month begins, in UTC."""
    at = datetime.fromtimestamp(now, UTC)
    year, month = divmod(at.year * 12 + at.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - now
