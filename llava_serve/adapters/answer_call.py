"""Answer call: a call that an answer makes, whole or while it comes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llava_serve.protocol.tools import arguments_of


@dataclass(slots=True)
class AnswerCall:
    """`arguments` are JSON as the model wrote it, which its limit or a stop may have cut off."""

    index: int  # in its answer
    id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, Any] | None:
        """The arguments; None where they are no JSON object, and nobody can be called so."""
        return arguments_of(self.arguments) if self.arguments else None

    @property
    def text(self) -> str:
        """What the model wrote of a call that is none."""
        return f'{{"name": {json.dumps(self.name)}, "arguments": {self.arguments}'


def calls_of(message: Mapping[str, Any]) -> list[AnswerCall]:
    """Return the calls of a whole message."""
    return [
        AnswerCall(index, call["id"], call["function"]["name"], call["function"]["arguments"])
        for index, call in enumerate(message.get("tool_calls") or ())
    ]


class CallReader:
    """Reads the calls of an answer that is streamed."""

    def __init__(self) -> None:
        self.calls: list[AnswerCall] = []

    def read(self, delta: Mapping[str, Any]) -> Iterable[tuple[AnswerCall | None, str]]:
        """Yield new arguments of the last call, with that call where they are its first."""
        for part in delta.get("tool_calls") or ():
            arguments = part["function"].get("arguments") or ""
            if (call_id := part.get("id")) is not None:
                call = AnswerCall(len(self.calls), call_id, part["function"]["name"], arguments)
                self.calls.append(call)
                yield self.calls[-1], arguments
            else:
                self.calls[-1].arguments += arguments
                yield None, arguments
