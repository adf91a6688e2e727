"""Tool calls of Ollama's protocol, whose results need not say which call they are of.

Source: ollama/ollama@fb30760, api/types.go, ToolCall and Message, docs/api.md, "Chat request (With
history, with tools)".
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from llava_serve.adapters.adapter import AdaptedPart
from llava_serve.adapters.tools import adapted_call
from llava_serve.errors import InvalidField
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict
from llava_serve.protocol.tools import FunctionDefinition, FunctionName


class OllamaTool(Strict):
    """A function that the model may call, with or without its type."""

    neutral: ClassVar[Neutral] = {"items": (None,)}

    type: Literal["function"] = "function"
    function: FunctionDefinition

    def as_chat(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class OllamaFunctionCall(Strict):
    neutral: ClassVar[Neutral] = {"index": ANYTHING}  # its place in the list

    name: FunctionName
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]


class OllamaToolCall(Strict):
    neutral: ClassVar[Neutral] = {"type": (None, "function")}

    id: str | None = None
    function: OllamaFunctionCall


class CallsInOrder:
    """Gives each call of a conversation an id, and each result that of its call.

    A result without one is that of the first call which waits for one, of its name where it has
    any.
    """

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[tuple[str, str]] = []  # id and name

    def add_calls(self, calls: Iterable[OllamaToolCall], path: str) -> list[AdaptedPart]:
        """Return calls of one turn, which stand at `path`, as the native wire has them."""
        native = []
        for at, call in enumerate(calls):
            self._count += 1
            call_id = call.id or f"call{self._count:05}"
            self._waiting.append((call_id, call.function.name))
            function = call.function
            native.append(adapted_call(f"{path}.{at}", call_id, function.name, function.arguments))
        return native

    def id_of_result(self, call_id: str | None, name: str | None, path: str) -> str:
        """Return the id of the call that the turn at `path` is the result of.

        Raises:
            InvalidField: no call waits for it.
        """
        for waiting in self._waiting:
            if call_id == waiting[0] or (not call_id and name in (None, "", waiting[1])):
                self._waiting.remove(waiting)
                return waiting[0]
        raise InvalidField(path, "is the result of no call before it")
