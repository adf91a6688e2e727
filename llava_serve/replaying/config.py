"""Settings of `replay record` and `replay check`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.server_config import ServerConfig


@dataclass(frozen=True, kw_only=True)
class RecordConfig(ServerConfig):
    """Write down a model's greedy answers with their log-probabilities."""

    model: Annotated[str | None, "model to ask; default: the only one that is served"] = None
    out: Annotated[Path, "file to write"]
    requests: Annotated[
        Path | None,
        "JSON lines, each the body of a chat completion; default: drawn pictures and texts",
    ] = None
    top_logprobs: Annotated[int, "likeliest tokens to write down at each place"] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.top_logprobs <= 20:
            raise ValueError("--top-logprobs must be from 0 to 20")


@dataclass(frozen=True, kw_only=True)
class CheckConfig(ServerConfig):
    """Ask again what a recording holds, and report by how much the answers moved."""

    model: Annotated[str | None, "model to ask; default: the one that was recorded"] = None
    tolerance: Annotated[
        float, "most that a log-probability may move, in nats, before the check fails"
    ] = 0.5
    json: Annotated[bool, "print one JSON object instead of a table"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tolerance >= 0:
            raise ValueError("--tolerance must not be negative")
