"""Requests of OpenAI's Responses protocol, and the chat completions that they ask for.

Source: openai 3.51.0, openai/types/responses/response_create_params.py and what it names.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import (
    AdaptedMessage,
    AdaptedPart,
    AdaptedRequest,
    Adapter,
    source_of,
)
from llava_serve.adapters.responses.answer import ResponseAnswer
from llava_serve.errors import ResponsesNotKept
from llava_serve.protocol.answer_form import AnyJson, JsonSchema, PlainText
from llava_serve.protocol.error_shape import RESPONSES_PATH
from llava_serve.protocol.integer import Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, parse_body


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
    Annotated[MessageItem, Tag("message")] | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind_of),
]


def _as_items(said: Any) -> Any:
    return [{"role": "user", "content": said}] if isinstance(said, str) else said


class SchemaFormat(JsonSchema):
    type: Literal["json_schema"]


class TextConfig(Strict):
    neutral: ClassVar[Neutral] = {"verbosity": (None, "medium")}

    format: Annotated[PlainText | AnyJson | SchemaFormat, Field(discriminator="type")] | None = None

    def as_response_format(self) -> dict[str, Any] | None:
        """Return the same as the native wire has it; None: any text."""
        if isinstance(self.format, AnyJson):
            return {"type": "json_object"}
        if isinstance(self.format, SchemaFormat):
            schema = {"name": self.format.name, "schema": self.format.content}
            return {"type": "json_schema", "json_schema": schema}
        return None


class EventOptions(Strict):
    neutral: ClassVar[Neutral] = {"include_obfuscation": ANYTHING}  # nothing is obfuscated


_SOURCES = {
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "response_format": "text.format",
    "stream_options": "stream",
}
_LOGPROBS = "message.output_text.logprobs"


class ResponsesRequest(Strict):
    """The body of `POST /v1/responses`.

    What says nothing to the model (`metadata`, `service_tier`, `reasoning` and the like) is
    accepted.
    """

    neutral: ClassVar[Neutral] = {
        "access_programs": ANYTHING,
        "background": (None, False),
        "context_management": (None, []),
        "conversation": (None,),
        "max_tool_calls": ANYTHING,  # there are no tools
        "moderation": (None,),
        "parallel_tool_calls": (None, True, False),
        "previous_response_id": (None,),
        "prompt": (None,),
        "prompt_cache_options": ANYTHING,  # what is read again is cached anyway
        "prompt_cache_retention": ANYTHING,
        "reasoning": ANYTHING,  # no LLaVA model thinks before it answers
        "service_tier": ANYTHING,  # there is one
        "store": (None, False),
        "tool_choice": (None, "none", "auto"),  # without tools
        "tools": (None, []),
        "truncation": (None, "disabled"),
    }

    @model_validator(mode="before")
    @classmethod
    def _without_tools(cls, body: Any) -> Any:
        """Leave out tools that must not be called."""
        if isinstance(body, dict) and body.get("tool_choice") == "none":
            return {field: value for field, value in body.items() if field != "tools"}
        return body

    model: str
    input: Annotated[list[Item], Field(min_length=1), BeforeValidator(_as_items)]
    instructions: str | None = None
    include: list[str] | None = None
    max_output_tokens: Positive | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = False
    stream_options: EventOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    text: TextConfig = Field(default_factory=TextConfig)
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: str | None = None

    def as_messages(self) -> list[AdaptedMessage]:
        """Return the messages that the input makes, behind the instructions."""
        opening = AdaptedPart({"type": "text", "text": self.instructions or ""}, "instructions")
        messages = [
            message
            for at, item in enumerate(self.input)
            for message in item.as_messages(f"input.{at}")
        ]
        if not self.instructions:
            return messages
        return [AdaptedMessage("system", "instructions", [opening]), *messages]

    def as_chat(self, messages: Sequence[AdaptedMessage]) -> dict[str, Any]:
        """Return the body of the chat completion that this asks for, given its messages."""
        tells_logprobs = _LOGPROBS in (self.include or ()) or bool(self.top_logprobs)
        fields = {
            "max_tokens": self.max_output_tokens,
            "metadata": self.metadata,
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "user": self.user,
            "response_format": self.text.as_response_format(),
            "logprobs": tells_logprobs or None,
            "top_logprobs": self.top_logprobs if tells_logprobs else None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        said = [message.body for message in messages]
        chat = {"model": self.model, "messages": said, **given}
        if not self.stream:
            return chat
        return {**chat, "stream": True, "stream_options": {"include_usage": True}}

    def as_told(self) -> dict[str, Any]:
        """Return what a response repeats of its request."""
        form = self.text.format
        told = form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "model": self.model,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": self.safety_identifier,
            "store": False,
            "temperature": self.temperature,
            "text": {"format": told},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": self.top_logprobs,
            "top_p": self.top_p,
            "truncation": "disabled",
            "user": self.user,
        }


def adapt_responses(body: Any, told: Mapping[str, Any]) -> tuple[AdaptedRequest, str]:
    """Read a decoded body; what is `told` besides stands in its response, whose id is returned."""
    request = parse_body(ResponsesRequest, body)
    answer = ResponseAnswer({**request.as_told(), **told})
    messages = request.as_messages()
    fields = {**_SOURCES, "logprobs": "top_logprobs" if request.top_logprobs else "include"}
    chat, source = request.as_chat(messages), source_of(fields, messages)
    return AdaptedRequest(chat, answer.adapt_whole, source, answer), answer.id


def _read(body: Any) -> AdaptedRequest:
    if isinstance(body, dict):
        _check_nothing_kept(body)
    return adapt_responses(body, {})[0]


def _check_nothing_kept(body: dict[str, Any]) -> None:
    """Raise ResponsesNotKept for what only a server can do that keeps responses."""
    if body.get("store") is True:
        raise ResponsesNotKept("store")
    if body.get("previous_response_id") is not None:
        raise ResponsesNotKept("previous_response_id")
    items = body.get("input")
    for at, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") == "item_reference":
            raise ResponsesNotKept(f"input.{at}")


RESPONSES = Adapter(RESPONSES_PATH, _read)
