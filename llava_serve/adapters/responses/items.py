"""Items of OpenAI's Responses: messages, calls and what came of them, as chat messages.

Source: openai 3.51.0, openai/types/responses/response_input_item_param.py and what it names.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import AdaptedMessage, AdaptedPart
from llava_serve.adapters.tools import adapted_call
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict
from llava_serve.protocol.tools import FunctionName, arguments_of


class InputText(Strict):
    neutral: ClassVar[Neutral] = {
        "annotations": ANYTHING,
        "logprobs": ANYTHING,
        "prompt_cache_breakpoint": ANYTHING,
    }

    type: Literal["input_text", "output_text", "text"]
    text: str

    def as_part(self, path: str) -> AdaptedPart:
        return AdaptedPart({"type": "text", "text": self.text}, path)


class InputImage(Strict):
    """An address, or the id of a file that a controller keeps."""

    neutral: ClassVar[Neutral] = {"prompt_cache_breakpoint": ANYTHING}

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.image_url is None) == (self.file_id is None):
            raise PydanticCustomError("source", "has an image_url or a file_id, and one of them")
        return self

    def as_part(self, path: str) -> AdaptedPart:
        # An image is always seen as finely as the checkpoint can: as it is, for one.
        detail = "high" if self.detail == "original" else self.detail
        if self.file_id is None:
            kind, sent, image = "image_url", "image_url", {"url": self.image_url}
        else:
            kind, sent, image = "image_file", "file_id", {"file_id": self.file_id}
        # A file becomes an address, which is checked too.
        fields = {"image_file": sent, "image_url": sent, "image_url.detail": "detail"}
        return AdaptedPart({"type": kind, kind: {**image, "detail": detail}}, path, fields)


Part = Annotated[InputText | InputImage, Field(discriminator="type")]


def _as_parts(content: Any) -> Any:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


class MessageItem(Strict):
    """A message, also one of an answer, as it came."""

    neutral: ClassVar[Neutral] = {"id": ANYTHING, "phase": ANYTHING, "status": ANYTHING}

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)]

    def as_messages(self, path: str) -> list[AdaptedMessage]:
        parts = [part.as_part(f"{path}.content.{at}") for at, part in enumerate(self.content)]
        return [AdaptedMessage(self.role, path, parts)]


class CallItem(Strict):
    """A call that the assistant made, as it came; one that was cut off nobody has answered."""

    neutral: ClassVar[Neutral] = {
        "async": (None, False),
        "caller": (None, {"type": "direct"}),
        "created_by": ANYTHING,
        "id": ANYTHING,
        "namespace": (None,),
    }

    type: Literal["function_call"]
    call_id: Annotated[str, Field(min_length=1)]
    name: FunctionName
    arguments: str
    status: Literal["in_progress", "completed", "incomplete"] | None = None

    def as_messages(self, path: str) -> list[AdaptedMessage]:
        if self.status == "incomplete" and arguments_of(self.arguments) is None:
            return []
        named = {"id": "call_id", "name": "name", "arguments": "arguments"}
        call = adapted_call(path, self.call_id, self.name, self.arguments, **named)
        return [AdaptedMessage("assistant", path, [], [call])]


class CallOutputItem(Strict):
    """What came of a call."""

    neutral: ClassVar[Neutral] = {
        "caller": (None, {"type": "direct"}),
        "id": ANYTHING,
        "name": ANYTHING,  # the call has it
        "namespace": (None,),
        "status": ANYTHING,
    }

    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(min_length=1)]
    output: Annotated[list[Part], BeforeValidator(_as_parts)]

    def as_messages(self, path: str) -> list[AdaptedMessage]:
        parts = [part.as_part(f"{path}.output.{at}") for at, part in enumerate(self.output)]
        return [AdaptedMessage("tool", path, parts, tool_call_id=self.call_id)]


class ReasoningItem(Strict):
    """What a model thought before it answered, which is shown to none again."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["reasoning"]

    def as_messages(self, _: str) -> list[AdaptedMessage]:
        return []


def _kind_of(item: Any) -> str:
    """Return the type of an item, which a message may leave out."""
    kind = item.get("type") if isinstance(item, dict) else None
    return str(kind or "message")


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind_of),
]


def messages_of(items: Sequence[Item]) -> list[AdaptedMessage]:
    """Return what items say, calls in one turn with what the assistant says around them."""
    messages: list[AdaptedMessage] = []
    for at, item in enumerate(items):
        for said in item.as_messages(f"input.{at}"):
            last = messages[-1] if messages else said
            if (
                last.role == said.role == "assistant"
                and last is not said
                and last.calls + said.calls
            ):
                merged = replace(last, parts=last.parts + said.parts, calls=last.calls + said.calls)
                messages[-1] = merged
            else:
                messages.append(said)
    return messages
