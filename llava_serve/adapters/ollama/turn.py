"""Turns of Ollama's chats, their calls and results, and the tools that may be called.

Source: ollama 0.6.3, ollama/_types.py; ollama/ollama@fb30760, docs/api.md and api/types.go.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import AdaptedMessage, AdaptedPart
from llava_serve.adapters.tools import adapted_call
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict
from llava_serve.protocol.tools import FunctionDefinition, FunctionName


class OllamaTool(Strict):
    type: Literal["function"] = "function"
    function: FunctionDefinition


class OllamaFunction(Strict):
    neutral: ClassVar[Neutral] = {"index": ANYTHING}

    name: FunctionName
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]


class OllamaCall(Strict):
    """A call that the assistant made; most clients give back no id."""

    neutral: ClassVar[Neutral] = {"type": (None, "function")}

    id: str | None = None
    function: OllamaFunction


class Turn(Strict):
    """One turn; what a model thought before it answered is shown to none again."""

    neutral: ClassVar[Neutral] = {"thinking": ANYTHING}

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None

    @field_validator("tool_name", "tool_call_id")
    @classmethod
    def _of_result(cls, named: Any, info: ValidationInfo) -> Any:
        if named and info.data.get("role") != "tool":
            raise PydanticCustomError("turn", "is what a turn of role tool has")
        return named

    def parts(self, path: str) -> list[AdaptedPart]:
        """Return what the turn shows and says, which stands at `path`."""
        shown = images_of(self.images, f"{path}.images")
        return [*shown, text_of(self.content, f"{path}.content")]


class _OpenCalls:
    """Calls without results so far, by the ids that they have or get."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []  # id, name
        self._count = 0

    def add(self, call: OllamaCall, path: str) -> AdaptedPart:
        call_id = call.id or self._new_id()
        function = call.function
        self._open.append((call_id, function.name))
        fields = {"name": "function.name", "arguments": "function.arguments"}
        return adapted_call(path, call_id, function.name, function.arguments, **fields)

    def answer(self, turn: Turn) -> str:
        """Return the id of the call that a result is of: by its id, its name or their order."""
        found = [
            (call_id, name)
            for call_id, name in self._open
            if (turn.tool_call_id or call_id, turn.tool_name or name) == (call_id, name)
        ]
        if not found:
            return turn.tool_call_id or self._new_id()
        self._open.remove(found[0])
        return found[0][0]

    def _new_id(self) -> str:
        self._count += 1
        return f"call{self._count:05}"


def messages_of(turns: Sequence[Turn]) -> list[AdaptedMessage]:
    """Return turns as chat messages."""
    calls = _OpenCalls()
    messages = []
    for at, turn in enumerate(turns):
        path = f"messages.{at}"
        made = [
            calls.add(call, f"{path}.tool_calls.{number}")
            for number, call in enumerate(turn.tool_calls or ())
        ]
        result_of = calls.answer(turn) if turn.role == "tool" else None
        messages.append(AdaptedMessage(turn.role, path, turn.parts(path), made, result_of))
    return messages


def images_of(images: list[str] | None, path: str) -> list[AdaptedPart]:
    """Return images, which stand in front of the text of their message, as Ollama shows them."""
    urls = [f"data:;base64,{image}" for image in images or ()]
    return [
        AdaptedPart({"type": "image_url", "image_url": {"url": url}}, f"{path}.{at}")
        for at, url in enumerate(urls)
    ]


def text_of(text: str | None, path: str) -> AdaptedPart:
    return AdaptedPart({"type": "text", "text": text or ""}, path)
