"""Adapter of a protocol: what of a request is asked as a chat completion, and of the answer told.

An adapter knows bodies and nothing of who answers: keys, limits, lines, workers and clients that
leave are the affair of the route of chat completions, through which all its requests go.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from llava_serve.protocol import sse

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
class AdaptedRequest:
    """The body of the request that is made of one, and what makes an answer of what comes.

    `adapt_whole` takes and returns the body of an answer that is not streamed; it raises a
    ServeError where that says that there is none.
    """

    chat: dict[str, Any]
    adapt_whole: AdaptWhole
    events: EventAdapter | None = None  # of an answer that is streamed


@dataclass(frozen=True, slots=True)
class Adapter:
    """The route of a protocol; `read` takes a decoded body.

    What `read` raises names the fields of its protocol.
    """

    path: str
    read: Callable[[Any], AdaptedRequest]
