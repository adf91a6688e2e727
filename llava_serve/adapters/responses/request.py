"""Requests of OpenAI's Responses protocol, and the chat completions that they ask for.

Source: openai 3.51.0, openai/types/responses/response_create_params.py and what it names.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from llava_serve.adapters.adapter import (
    AdaptedMessage,
    AdaptedPart,
    AdaptedRequest,
    Adapter,
    source_of,
)
from llava_serve.adapters.responses.answer import ResponseAnswer
from llava_serve.adapters.responses.items import Item, messages_of
from llava_serve.adapters.responses.tools import (
    NamedResponsesTool,
    ResponsesTool,
    ToolChoice,
    as_chat_choice,
)
from llava_serve.adapters.tools import tool_sources
from llava_serve.errors import ResponsesNotKept
from llava_serve.protocol.error_shape import RESPONSES_PATH
from llava_serve.protocol.integer import Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, parse_body
from llava_serve.protocol.structured_output import AnyJson, JsonSchema, PlainText


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
        "max_tool_calls": ANYTHING,  # counts tools of the server's own, which has none
        "moderation": (None,),
        "previous_response_id": (None,),
        "prompt": (None,),
        "prompt_cache_options": ANYTHING,  # what is read again is cached anyway
        "prompt_cache_retention": ANYTHING,
        "reasoning": ANYTHING,  # no LLaVA model thinks before it answers
        "service_tier": ANYTHING,  # there is one
        "store": (None, False),
        "truncation": (None, "disabled"),
    }

    model: str
    input: Annotated[list[Item], Field(min_length=1), BeforeValidator(_as_items)]
    instructions: str | None = None
    continue_final_message: bool | None = None  # beyond OpenAI: of the assistant, as in a chat
    include: list[str] | None = None
    max_output_tokens: Positive | None = None
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = False
    stream_options: EventOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    text: TextConfig = Field(default_factory=TextConfig)
    tool_choice: ToolChoice | None = None
    tools: list[ResponsesTool] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: str | None = None

    def as_messages(self) -> list[AdaptedMessage]:
        """Return the messages that the input makes, behind the instructions."""
        opening = AdaptedPart({"type": "text", "text": self.instructions or ""}, "instructions")
        messages = messages_of(self.input)
        if not self.instructions:
            return messages
        return [AdaptedMessage("system", "instructions", [opening]), *messages]

    def as_chat(self, messages: Sequence[AdaptedMessage]) -> dict[str, Any]:
        """Return the body of the chat completion that this asks for, given its messages."""
        tells_logprobs = _LOGPROBS in (self.include or ()) or bool(self.top_logprobs)
        fields = {
            "continue_final_message": self.continue_final_message or None,
            "max_tokens": self.max_output_tokens,
            "metadata": self.metadata,
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "user": self.user,
            "tools": [tool.as_function() for tool in self.tools or ()] or None,
            "tool_choice": as_chat_choice(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
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
        asked = self.text.format
        told = asked.model_dump(by_alias=True, exclude_none=True) if asked else {"type": "text"}
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "model": self.model,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": self.safety_identifier,
            "store": False,
            "temperature": self.temperature,
            "text": {"format": told},
            "tool_choice": self._told_choice(),
            "tools": [tool.model_dump() for tool in self.tools or ()],
            "top_logprobs": self.top_logprobs,
            "top_p": self.top_p,
            "truncation": "disabled",
            "user": self.user,
        }

    def _told_choice(self) -> Any:
        choice = self.tool_choice
        return choice.model_dump() if isinstance(choice, NamedResponsesTool) else choice or "auto"


def adapt_responses(body: Any, told: Mapping[str, Any]) -> tuple[AdaptedRequest, str]:
    """Read a decoded body; what is `told` besides stands in its response, whose id is returned."""
    request = parse_body(ResponsesRequest, body)
    answer = ResponseAnswer({**request.as_told(), **told})
    messages = request.as_messages()
    tools = tool_sources(len(request.tools or ()), "parameters")
    fields = {
        **_SOURCES,
        **tools,
        "logprobs": "top_logprobs" if request.top_logprobs else "include",
    }
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
