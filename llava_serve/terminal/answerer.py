"""Who answers in the terminal: one protocol, and what an answer is."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from llava_serve.errors import ServeError
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Delta, Usage


class Answerer(Protocol):
    """A model, in this process or behind a controller."""

    model: str

    def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """Yield the answer to the last message; closing the generator stops the work.

        Raises:
            ServeError: the request is refused, or the answer breaks off.
        """
        ...


Outcome = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one question; `text` may be the beginning of an answer that broke off."""

    question: str
    text: str
    finish_reason: Outcome
    usage: Usage | None
    model: str
    error: ServeError | None = None
