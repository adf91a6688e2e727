"""Requests of Ollama's protocol, and the chat completions that they ask for.

Source: ollama 0.6.3, ollama/_types.py; ollama/ollama@fb30760, docs/api.md and api/types.go.
"""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import AdaptedRequest
from llava_serve.adapters.ollama.answer import OllamaAnswer, as_message, as_response
from llava_serve.adapters.ollama.options import Options
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, unsupported

_AT_ONCE = (0, "0", "0s", "0m", "0h")  # as `keep_alive` without a question: unload the model


def _form(asked: Any) -> Any:
    if asked in (None, "", "json") or isinstance(asked, dict):
        return asked or None
    raise PydanticCustomError("answer_form", 'must be "json" or a JSON schema')


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
    format: Annotated[Any, BeforeValidator(_form)] = None
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
    def messages_of_chat(self) -> list[dict[str, Any]]:
        """Return the messages of the chat completion."""

    def adapted(self, served_as: str) -> AdaptedRequest:
        """Return the chat completion that this asks of the model `served_as`."""
        messages, answer = self.messages_of_chat(), self.answer
        fields = {
            "response_format": self._response_format(),
            "logprobs": self.logprobs or None,
            "top_logprobs": self.top_logprobs if self.logprobs else None,
            # As here an answer begins with what the assistant has said last.
            "continue_final_message": messages[-1]["role"] == "assistant" or None,
            "stream": self.stream is not False or None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        options = self.options.as_chat() if self.options else {}
        chat = {"model": served_as, "messages": messages, **options, **given}
        if self.stream is not False:
            chat["stream_options"] = {"include_usage": True}
        return AdaptedRequest(chat, answer.adapt_whole, answer)

    def _response_format(self) -> dict[str, Any] | None:
        if self.format is None:
            return None
        if self.format == "json":
            return {"type": "json_object"}
        schema = {"name": "answer", "schema": self.format}
        return {"type": "json_schema", "json_schema": schema}


class Turn(Strict):
    """One turn; what a model thought before it answered is shown to none again."""

    neutral: ClassVar[Neutral] = {
        "thinking": ANYTHING,
        "tool_call_id": (None, ""),
        "tool_calls": (None, []),
        "tool_name": (None, ""),
    }

    role: Literal["system", "user", "assistant"]
    content: str | None = None
    images: list[str] | None = None

    def as_chat(self) -> dict[str, Any]:
        return {"role": self.role, "content": _parts(self.content, self.images)}


class OllamaChat(OllamaRequest):
    """The body of `POST /api/chat`."""

    neutral: ClassVar[Neutral] = {**OllamaRequest.neutral, "tools": (None, [])}

    messages: list[Turn] | None = None

    @property
    def asks_nothing(self) -> bool:
        return not self.messages

    @property
    def answer(self) -> OllamaAnswer:
        return OllamaAnswer(self.model, as_message)

    def messages_of_chat(self) -> list[dict[str, Any]]:
        return [message.as_chat() for message in self.messages or ()]


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
        return OllamaAnswer(self.model, as_response)

    def messages_of_chat(self) -> list[dict[str, Any]]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        return [*opening, {"role": "user", "content": _parts(self.prompt, self.images)}]


class ShowRequest(Strict):
    """The body of `POST /api/show`, where older clients call the model `name`."""

    neutral: ClassVar[Neutral] = {
        "options": ANYTHING,  # these three would be shown in place of the model's own
        "system": ANYTHING,
        "template": ANYTHING,
        "verbose": ANYTHING,  # nothing was left out
    }

    model: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("model", "name"))]


def _parts(text: str | None, images: list[str] | None) -> list[dict[str, Any]]:
    """Return the parts of a message: images in front of the text, as Ollama shows them."""
    shown = [
        {"type": "image_url", "image_url": {"url": f"data:;base64,{image}"}}
        for image in images or ()
    ]
    return [*shown, {"type": "text", "text": text or ""}]
