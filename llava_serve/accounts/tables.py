"""Tables of accounts: keys, their tokens by month, and one line for each request."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class AccountTable(DeclarativeBase):
    pass


class KeyRow(AccountTable):
    """One API key; the columns are the fields of `ApiKey`, and `digest` is of its secret."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    models: Mapped[list[str]] = mapped_column(JSON)
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    max_parallel: Mapped[int | None]
    monthly_tokens: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class MonthRow(AccountTable):
    """Tokens that a key has used in a calendar month (UTC), as `2026-01`."""

    __tablename__ = "api_key_months"

    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    tokens: Mapped[int] = mapped_column(BigInteger)


class RequestRow(AccountTable):
    """One request that was answered or refused; without its prompt, its pictures and its answer.

    `at` is when it came, in seconds since the epoch, and `day` its date in UTC; `image_sha256` are
    the digests of the files as they were sent; `client_fields` is what the client says of itself;
    `timings` are seconds by name.
    """

    __tablename__ = "api_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    day: Mapped[str] = mapped_column(String(10))
    request_id: Mapped[str] = mapped_column(String(128))
    key_id: Mapped[str | None] = mapped_column(String(32), index=True)
    model: Mapped[str] = mapped_column(String(255))
    worker: Mapped[str] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(64))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    image_tokens: Mapped[int]
    image_sha256: Mapped[list[str]] = mapped_column(JSON)
    client_fields: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    timings: Mapped[dict[str, Any]] = mapped_column(JSON)
