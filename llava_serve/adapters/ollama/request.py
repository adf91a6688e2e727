"""Requests of Ollama's protocol, and the chat completions that they ask for.

Source: ollama 0.6.3, ollama/_types.py; ollama/ollama@fb30760, docs/api.md and api/types.go.
"""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import (
    AdaptedMessage,
    AdaptedPart,
    AdaptedRequest,
    source_of,
)
from llava_serve.adapters.ollama.answer import OllamaAnswer, chat_content, generate_content
from llava_serve.adapters.ollama.options import SOURCES, Options
from llava_serve.adapters.ollama.tool_calls import CallsInOrder, OllamaTool, OllamaToolCall
from llava_serve.errors import InvalidField
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, unsupported
from llava_serve.protocol.tools import MOST_TOOLS

_AT_ONCE = (0, "0", "0s", "0m", "0h")  # as `keep_alive` without a question: unload the model


def _format(asked: Any) -> Any:
    if asked in (None, "", "json") or isinstance(asked, dict):
        return asked or None
    raise PydanticCustomError("structured_output", 'must be "json" or a JSON schema')


class OllamaRequest(Strict):
    """What both routes have in common.

    `keep_alive` is accepted where something is asked: here models stay as long as their workers.
    """

    neutral: ClassVar[Neutral] = {
        "shift": (None, False),
        "think": (None, False),
        "truncate": (None, False),
    }

    model: Annotated[str, Field(min_length=1)]
    stream: bool | None = True
    format: Annotated[Any, BeforeValidator(_format)] = None
    keep_alive: Any = None
    options: Options | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _check_stays(self) -> Self:
        if self.asks_nothing and self.keep_alive in _AT_ONCE:
            raise unsupported("keep_alive", "0 would unload the model, which its worker keeps")
        return self

    @property
    @abstractmethod
    def asks_nothing(self) -> bool:
        """True where the request would only load the model."""

    @property
    @abstractmethod
    def answer(self) -> OllamaAnswer:
        """What makes an answer."""

    @abstractmethod
    def as_messages(self) -> list[AdaptedMessage]:
        """Return the messages of the chat completion."""

    def as_tools(self) -> list[dict[str, Any]]:
        """Return the tools of the chat completion."""
        return []

    def adapted(self, served_as: str) -> AdaptedRequest:
        """Return the chat completion that this asks of the model `served_as`.

        Raises:
            InvalidField: two fields exclude each other.
        """
        messages, answer = self.as_messages(), self.answer
        # As here an answer begins with what the assistant has said last.
        continues = messages[-1].role == "assistant"
        if continues and self.format is not None:
            raise InvalidField("format", "and a last message of the assistant exclude each other")
        fields = {
            "continue_final_message": continues or None,
            "logprobs": self.logprobs or None,
            "response_format": self._response_format(),
            "stream": self._is_streamed or None,
            "stream_options": {"include_usage": True} if self._is_streamed else None,
            "tools": self.as_tools() or None,
            "top_logprobs": self.top_logprobs if self.logprobs else None,
        }
        chat = {
            "model": served_as,
            "messages": [message.body for message in messages],
            **(self.options.as_chat() if self.options else {}),
            **{name: value for name, value in fields.items() if value is not None},
        }
        sources = {
            **SOURCES,
            "continue_final_message": messages[-1].source,
            "response_format": "format",
            "stream_options": "stream",
        }
        source = source_of(sources, messages)
        return AdaptedRequest(chat, answer.adapt_whole, source, answer)

    @property
    def _is_streamed(self) -> bool:
        return self.stream is not False

    def _response_format(self) -> dict[str, Any] | None:
        if self.format is None:
            return None
        if self.format == "json":
            return {"type": "json_object"}
        schema = {"name": "answer", "schema": self.format}
        return {"type": "json_schema", "json_schema": schema}


class OllamaMessage(Strict):
    """One message; what a model thought before it answered is shown to none again."""

    neutral: ClassVar[Neutral] = {"thinking": ANYTHING}

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_call_id: str | None = None  # of a result; else `tool_name` or the order tells
    tool_name: str | None = None

    def as_message(self, path: str, calls: CallsInOrder) -> AdaptedMessage:
        """Return the chat message, given the calls of those before.

        Raises:
            InvalidField: it is the result of no call.
        """
        made = calls.add_calls(self.tool_calls or (), f"{path}.tool_calls")
        result_of = None
        if self.role == "tool":
            result_of = calls.id_of_result(self.tool_call_id, self.tool_name, path)
        shown = _images(self.images, f"{path}.images")
        parts = [*shown, _text(self.content, f"{path}.content")]
        return AdaptedMessage(self.role, path, parts, made, result_of)


class OllamaChat(OllamaRequest):
    """The body of `POST /api/chat`."""

    messages: list[OllamaMessage] | None = None
    tools: Annotated[list[OllamaTool], Field(max_length=MOST_TOOLS)] | None = None

    @property
    def asks_nothing(self) -> bool:
        return not self.messages

    @property
    def answer(self) -> OllamaAnswer:
        return OllamaAnswer(self.model, chat_content)

    def as_messages(self) -> list[AdaptedMessage]:
        calls, said = CallsInOrder(), enumerate(self.messages or ())
        return [message.as_message(f"messages.{at}", calls) for at, message in said]

    def as_tools(self) -> list[dict[str, Any]]:
        return [tool.as_chat() for tool in self.tools or ()]


class OllamaPrompt(OllamaRequest):
    """The body of `POST /api/generate`: one question, rendered with the model's own template."""

    neutral: ClassVar[Neutral] = {
        **OllamaRequest.neutral,
        "context": (None, []),
        "raw": (None, False),
        "suffix": (None, ""),
        "template": (None, ""),
    }

    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None

    @property
    def asks_nothing(self) -> bool:
        return not (self.prompt or self.images)

    @property
    def answer(self) -> OllamaAnswer:
        return OllamaAnswer(self.model, generate_content)

    def as_messages(self) -> list[AdaptedMessage]:
        asked = [*_images(self.images, "images"), _text(self.prompt, "prompt")]
        question = AdaptedMessage("user", "prompt", asked)
        if not self.system:
            return [question]
        return [AdaptedMessage("system", "system", [_text(self.system, "system")]), question]


class ShowRequest(Strict):
    """The body of `POST /api/show`, where older clients call the model `name`."""

    neutral: ClassVar[Neutral] = {
        "options": ANYTHING,  # these three would be shown in place of the model's own
        "system": ANYTHING,
        "template": ANYTHING,
        "verbose": ANYTHING,  # nothing was left out
    }

    model: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("model", "name"))]


def _images(images: list[str] | None, path: str) -> list[AdaptedPart]:
    """Return images, which stand in front of the text of their message, as Ollama shows them."""
    urls = [f"data:;base64,{image}" for image in images or ()]
    return [
        AdaptedPart({"type": "image_url", "image_url": {"url": url}}, f"{path}.{at}")
        for at, url in enumerate(urls)
    ]


def _text(text: str | None, path: str) -> AdaptedPart:
    return AdaptedPart({"type": "text", "text": text or ""}, path)
