"""Tools of a conversation and calls of them, as the wire, templates and engines hand them on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is the JSON schema of an object."""

    name: str
    parameters: Mapping[str, Any]
    description: str | None = None
    is_strict: bool = False  # the arguments of each call follow the schema


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the answer calls: it may, it must (`is_required`), or it calls the one named."""

    is_required: bool = False
    name: str | None = None
    is_parallel: bool = True  # several calls in one answer


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call in the conversation so far."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """New text of the arguments of call number `index`; its first one has `id` and `name`."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None
