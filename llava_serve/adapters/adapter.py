"""Adapter of a protocol: what of a request is asked as a chat completion, and of the answer told.

An adapter knows bodies and nothing of who answers: keys, limits, lines, workers and clients that
leave are the affair of the route of chat completions, through which all its requests go.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llava_serve.protocol import sse
from llava_serve.protocol.error_shape import SourceOf

AdaptWhole = Callable[[dict[str, Any]], dict[str, Any]]
KeepAnswer = Callable[[dict[str, Any]], Awaitable[None]]  # takes the body of a whole answer


class EventAdapter(ABC):
    """What the chunks of one answer become, as they come, and the media type of all of it.

    Once it has ended well, `whole` is the body that it would have had if it had not been streamed,
    where somebody may want to keep that.
    """

    media_type: ClassVar[str] = sse.MEDIA_TYPE
    whole: dict[str, Any] | None = None

    @abstractmethod
    def adapt_chunk(self, chunk: dict[str, Any]) -> bytes:
        """Return the events of one chunk."""

    @abstractmethod
    def adapt_comment(self, comment: str) -> bytes:
        """Return what tells a client in silence that its answer is still to come."""

    @abstractmethod
    def adapt_error(self, body: dict[str, Any]) -> bytes:
        """Return the events that end an answer that failed."""

    @abstractmethod
    def end(self) -> bytes:
        """Return the events that end a complete answer."""


@dataclass(frozen=True, slots=True)
class AdaptedPart:
    """A part of a chat message, or a call, made of what stands at the path `source`.

    `fields` are those of the part that are called otherwise within that.
    """

    body: dict[str, Any]
    source: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdaptedMessage:
    """A chat message, made of what stands at the path `source`."""

    role: str
    source: str
    parts: list[AdaptedPart]
    calls: list[AdaptedPart] = field(default_factory=list)  # of the assistant
    tool_call_id: str | None = None  # of a tool

    @property
    def body(self) -> dict[str, Any]:
        body = {"role": self.role, "content": [part.body for part in self.parts]}
        if self.calls:
            body["tool_calls"] = [call.body for call in self.calls]
        return body if self.tool_call_id is None else {**body, "tool_call_id": self.tool_call_id}


def source_of(fields: Mapping[str, str], messages: Sequence[AdaptedMessage]) -> SourceOf:
    """Return what tells where something in a chat completion comes from.

    `fields` have another name in the request that it is made of; all others have the same. Of what
    has no source of its own it is that of the nearest field around it.
    """
    paths = dict(fields)
    for number, message in enumerate(messages):
        path = f"messages.{number}"
        paths[path] = message.source
        if message.calls:
            paths[f"{path}.tool_calls"] = message.calls[0].source
        parts = [(f"{path}.content.{at}", part) for at, part in enumerate(message.parts)]
        parts += [(f"{path}.tool_calls.{at}", call) for at, call in enumerate(message.calls)]
        for place, part in parts:
            paths[place] = part.source
            for name, own in part.fields.items():
                paths[f"{place}.{name}"] = f"{part.source}.{own}"

    def source(path: str) -> str:
        steps = path.split(".")
        around = (".".join(steps[:length]) for length in range(len(steps), 0, -1))
        return next((paths[one] for one in around if one in paths), path)

    return source


@dataclass(frozen=True, slots=True)
class AdaptedRequest:
    """The body of the request that is made of one, and what makes an answer of what comes.

    `source_of` tells what fields of `chat` were called, whose errors are about those.
    `adapt_whole` takes and returns the body of an answer that is not streamed; it raises a
    ServeError where that says that there is none.
    """

    chat: dict[str, Any]
    adapt_whole: AdaptWhole
    source_of: SourceOf
    events: EventAdapter | None = None  # of an answer that is streamed


@dataclass(frozen=True, slots=True)
class Adapter:
    """The route of a protocol; `read` takes a decoded body.

    What `read` raises names the fields of its protocol.
    """

    path: str
    read: Callable[[Any], AdaptedRequest]
