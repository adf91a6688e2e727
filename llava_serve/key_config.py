"""Settings of API keys: who is asked for one, where they are kept, and what is counted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.registry_config import REDIS_SCHEMES


@dataclass(frozen=True, kw_only=True)
class CredentialConfig:
    """Flag of the programs that ask a controller."""

    api_key_file: Annotated[
        Path | None,
        "file with an API key for --controller; default: the cluster's token, where the "
        "controller is on this machine",
    ] = None


@dataclass(frozen=True, kw_only=True)
class KeyConfig:
    """Flags of controller and workers about keys."""

    no_auth: Annotated[
        bool, "beyond loopback, answer everybody who reaches the port, without an API key"
    ] = False
    require_keys: Annotated[bool, "ask for an API key on loopback too"] = False
    database: Annotated[
        str | None,
        "SQLAlchemy URL of keys and usage; default: accounts.sqlite in the state folder",
    ] = None

    def __post_init__(self) -> None:
        if self.no_auth and self.require_keys:
            raise ValueError("--no-auth and --require-keys exclude each other")


@dataclass(frozen=True, kw_only=True)
class AccountingConfig(KeyConfig):
    """Flags of controllers about what keys use."""

    audit: Annotated[
        bool,
        "write a row into --database for each request that was let in to a model, without prompts "
        "and answers",
    ] = False
    limits_storage: Annotated[
        str | None,
        "where the limits of keys are counted: memory, or the URL of a Redis that several "
        "controllers share (redis://, rediss://, unix://); default: where the registry is kept",
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redis_url is not None and not self.redis_url.startswith(REDIS_SCHEMES):
            raise ValueError(
                "--limits-storage takes memory or an address like redis://host:6379/0 (rediss:// "
                "and unix:// too), and not "
                f"{self.limits_storage!r}"
            )

    @property
    def redis_url(self) -> str | None:
        """`--limits-storage`, unless it is this process's memory."""
        return None if self.limits_storage == "memory" else self.limits_storage
