"""Settings of the registry that several controllers of one cluster keep together."""

from dataclasses import dataclass
from typing import Annotated

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, kw_only=True)
class RegistryConfig:
    """Where the registry of workers is kept."""

    registry: Annotated[
        str | None,
        "URL of the Redis in which several controllers keep one registry: redis://, rediss:// or "
        "unix://; default: the memory of this one",
    ] = None

    def __post_init__(self) -> None:
        if self.registry and not self.registry.startswith(REDIS_SCHEMES):
            raise ValueError(
                "--registry must be a URL like redis://host:6379, rediss:// or unix://"
            )
