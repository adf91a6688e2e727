"""Requests of Anthropic's Messages protocol, and the chat completions that they ask for.

Source: anthropic 2.14.0, anthropic/types/message_create_params.py and what it names.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from llava_serve.adapters.adapter import (
    AdaptedMessage,
    AdaptedPart,
    AdaptedRequest,
    Adapter,
    AdaptWhole,
    EventAdapter,
    source_of,
)
from llava_serve.adapters.messages.answer import MessageAnswer, count_of
from llava_serve.adapters.messages.content import MessageParam, TextBlock
from llava_serve.adapters.messages.tools import CustomTool, MessagesToolChoice
from llava_serve.adapters.tools import tool_sources
from llava_serve.errors import InvalidField
from llava_serve.protocol.error_shape import MESSAGES_PATH
from llava_serve.protocol.integer import NotNegative, Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, parse_body

_FORMAT = "output_config.format"


class JsonFormat(Strict):
    type: Literal["json_schema"]
    content: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Strict):
    neutral: ClassVar[Neutral] = {"effort": ANYTHING}  # no LLaVA model thinks before it answers

    format: JsonFormat | None = None


def _as_blocks(system: Any) -> Any:
    if isinstance(system, str):
        return [{"type": "text", "text": system}]
    return [] if system is None else system


class CountRequest(Strict):
    """The body of `POST /v1/messages/count_tokens`: what becomes a prompt."""

    neutral: ClassVar[Neutral] = {
        "cache_control": ANYTHING,  # what is read again is cached anyway
        "context_management": (None, {}),
        "mcp_servers": (None, []),
        "speed": (None, "standard"),
        "thinking": (None, {"type": "disabled"}, {"type": "adaptive"}),  # when: never
    }

    model: str
    messages: Annotated[list[MessageParam], Field(min_length=1)]
    system: Annotated[list[TextBlock], BeforeValidator(_as_blocks)] = Field(default_factory=list)
    output_config: OutputConfig | None = None
    tools: list[CustomTool] | None = None
    tool_choice: MessagesToolChoice | None = None

    @property
    def continues(self) -> bool:
        """True where the answer begins with what the assistant has said last."""
        return self.messages[-1].role == "assistant"

    def as_chat(self, messages: Sequence[AdaptedMessage]) -> dict[str, Any]:
        """Return the body of the chat completion that this asks for, given its messages."""
        chat = {"model": self.model, "messages": [message.body for message in messages]}
        if self.tools:
            chat["tools"] = [tool.as_function() for tool in self.tools]
        if self.tool_choice:
            chat |= self.tool_choice.as_chat()
        return {**chat, "continue_final_message": True} if self.continues else chat

    def as_messages(self) -> list[AdaptedMessage]:
        """Return the messages, of which those of one role in a row are one turn.

        Results of calls come first, as messages of their own.
        """
        opening = [block.as_part(f"system.{at}") for at, block in enumerate(self.system)]
        messages = [AdaptedMessage("system", "system", opening)] if opening else []
        for role, placed in groupby(enumerate(self.messages), lambda placed: placed[1].role):
            said = list(placed)
            content: list[AdaptedPart] = []
            calls: list[AdaptedPart] = []
            results: list[AdaptedMessage] = []
            for at, message in said:
                path = f"messages.{at}.content"
                parts = message.parts(path)
                if content and parts and parts[0].body["type"] == "text":
                    parts[0].body["text"] = "\n" + parts[0].body["text"]
                content += parts
                calls += message.calls(path)
                results += message.results(path)
            messages += results
            if content or not results:
                messages.append(AdaptedMessage(role, f"messages.{said[0][0]}", content, calls))
        return messages


class MessagesRequest(CountRequest):
    """The body of `POST /v1/messages`.

    What says nothing to the model (`service_tier` and the like) is accepted.
    """

    neutral: ClassVar[Neutral] = {
        **CountRequest.neutral,
        "container": (None,),
        "diagnostics": (None,),
        "inference_geo": ANYTHING,
        "service_tier": ANYTHING,  # there is one
        "user_profile_id": ANYTHING,
        "workspace_id": ANYTHING,
    }

    max_tokens: Positive
    metadata: dict[str, Any] | None = None
    stop_sequences: (
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)] | None
    ) = None
    stream: bool | None = False
    temperature: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: NotNegative | None = None

    def as_chat(self, messages: Sequence[AdaptedMessage]) -> dict[str, Any]:
        """Return the body of the chat completion that this asks for, given its messages."""
        asked = self.output_config and self.output_config.format
        fields = {
            "max_tokens": self.max_tokens,
            "metadata": self.metadata,
            "stop": self.stop_sequences,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "response_format": asked and _as_response_format(asked),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        chat = super().as_chat(messages) | given
        if not self.stream:
            return chat
        # The first event tells the tokens of the prompt.
        options = {"include_usage": True, "continuous_usage_stats": True}
        return {**chat, "stream": True, "stream_options": options}


def _as_response_format(asked: JsonFormat) -> dict[str, Any]:
    schema = {"name": "answer", "schema": asked.content}
    return {"type": "json_schema", "json_schema": schema}


def _read(body: Any) -> AdaptedRequest:
    request = parse_body(MessagesRequest, body)
    if request.continues and request.output_config and request.output_config.format:
        raise InvalidField(_FORMAT, "and a last message of the assistant exclude each other")
    answer = MessageAnswer(request.model)
    return _adapted(request, answer.adapt_whole, answer)


def _read_count(body: Any) -> AdaptedRequest:
    return _adapted(parse_body(CountRequest, body), count_of)


def _adapted(
    request: CountRequest, adapt_whole: AdaptWhole, events: EventAdapter | None = None
) -> AdaptedRequest:
    messages = request.as_messages()
    fields = {
        **tool_sources(len(request.tools or ()), "input_schema"),
        "continue_final_message": f"messages.{len(request.messages) - 1}",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
        "response_format": _FORMAT,
        "stop": "stop_sequences",
        "stream_options": "stream",
    }
    chat, source = request.as_chat(messages), source_of(fields, messages)
    return AdaptedRequest(chat, adapt_whole, source, events)


MESSAGES = Adapter(MESSAGES_PATH, _read)
COUNT_TOKENS = Adapter(f"{MESSAGES_PATH}/count_tokens", _read_count)  # over inspections
