"""The native wire: OpenAI chat completions, the same on the controller and on every worker.

Answers use the `openai` package's own types; requests are strict: a field that is not supported is
refused by name, never ignored.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llava_serve.protocol.content_part import Content, ImagePart, TextPart, VideoPart
from llava_serve.protocol.integer import NotNegative, Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, parse_body
from llava_serve.protocol.structured_output import PlainText, ResponseFormat, with_native_format
from llava_serve.protocol.tools import MOST_TOOLS, FunctionTool, FunctionToolCall, ToolChoice

MOST_BIASES = 1024  # tokens of `logit_bias`; each is added at every step


class ChatMessage(Strict):
    """One turn. `developer` is OpenAI's newer word for `system`, `tool` has the result of a call.

    An answer comes back as a client kept it: `parsed` is its `content` once more, and what a model
    thought before it answered is shown to none again.
    """

    neutral: ClassVar[Neutral] = {
        "annotations": (None, []),
        "audio": (None,),
        "function_call": (None,),
        "parsed": ANYTHING,
        "reasoning": ANYTHING,
        "reasoning_content": ANYTHING,
        "refusal": (None, ""),
    }

    role: Literal["system", "developer", "user", "assistant", "tool"]
    tool_calls: list[FunctionToolCall] | None = None  # of the assistant
    tool_call_id: str | None = Field(default=None, validate_default=True)
    content: Content = Field(default=None, validate_default=True)
    name: str | None = None  # accepted for compatibility; no LLaVA template shows names

    @field_validator("tool_calls")
    @classmethod
    def _of_assistant(cls, calls: Any, info: ValidationInfo) -> Any:
        if calls and info.data.get("role") != "assistant":
            raise PydanticCustomError("tool_calls", "are what a turn of the assistant has")
        return calls

    @field_validator("tool_call_id")
    @classmethod
    def _of_result(cls, call: Any, info: ValidationInfo) -> Any:
        if (call is not None) != (info.data.get("role") == "tool"):
            raise PydanticCustomError(
                "tool_call_id", "says which call a turn of role tool is the result of"
            )
        return call

    @field_validator("content", mode="before")
    @classmethod
    def _wordless(cls, content: Any, info: ValidationInfo) -> Any:
        return "" if content is None and info.data.get("tool_calls") else content

    def parts(self) -> list[TextPart | ImagePart | VideoPart]:
        if isinstance(self.content, str):
            is_call_alone = not self.content and self.tool_calls
            return [] if is_call_alone else [TextPart(type="text", text=self.content)]
        return self.content


class StreamOptions(Strict):
    include_usage: bool | None = None  # a last chunk with the usage alone
    continuous_usage_stats: bool | None = None  # in every chunk the usage so far, as in vLLM
    include_obfuscation: bool | None = None  # accepted: nothing is obfuscated either way


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else [] if stop is None else stop


def _no_limit(top_k: Any) -> Any:
    return 0 if top_k == -1 else top_k


class SampledRequest(Strict):
    """What a request for a chat's answer and one for a text's continuation have in common."""

    @model_validator(mode="before")
    @classmethod
    def _in_native_words(cls, body: Any) -> Any:
        return with_native_format(body) if isinstance(body, dict) else body

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None  # 0: the most probable token
    top_k: Annotated[NotNegative, BeforeValidator(_no_limit)] | None = None  # -1, as 0: no limit
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    min_tokens: NotNegative | None = None
    ignore_eos: bool | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[NotNegative, Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=MOST_BIASES),
        ]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    regex: Annotated[str, Field(min_length=1)] | None = None  # the whole answer matches it
    stop: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(max_length=16),
        BeforeValidator(_as_list),  # null, a string or a list
    ] = Field(default_factory=list)
    user: str | None = None  # as `metadata`
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def most_tokens(self) -> int | None:
        """How long the answer may be; None: as long as the context allows."""
        return self.max_tokens

    @property
    def told_logprobs(self) -> int | None:
        """How many of the likeliest tokens to tell at each place; None: nothing."""
        return None


class ChatRequest(SampledRequest):
    """The body of `POST /v1/chat/completions`.

    `top_k`, `min_p`, `repetition_penalty`, `min_tokens`, `ignore_eos`, `continue_final_message`,
    `add_generation_prompt`, `regex` and parts of type `video_url` go beyond OpenAI; a client of the
    `openai` package sends them through `extra_body`. What is in `FURTHER_FIELDS` only some engines
    support. `metadata`, `service_tier` and the like, which say nothing to the model, are accepted,
    and kept where requests are audited.
    """

    neutral: ClassVar[Neutral] = {
        "audio": (None,),
        "function_call": (None, "none"),
        "functions": (None, []),
        "metadata": ANYTHING,
        "modalities": (None, ["text"]),
        "moderation": (None,),
        "prediction": (None,),
        "prompt_cache_options": (None,),
        "prompt_cache_retention": ANYTHING,
        "reasoning_effort": ANYTHING,  # no LLaVA model thinks before it answers
        "service_tier": ANYTHING,  # there is one
        "store": (None, False),
        "verbosity": (None, "medium"),
        "web_search_options": (None,),
        # Of SGLang, whose router adds them to each request.
        "no_stop_trim": (None, False),
        "return_hidden_states": (None, False),
        "separate_reasoning": (None, True),
        "skip_special_tokens": (None, True),
        "stream_reasoning": (None, True),
        # Of vLLM and FastChat.
        "best_of": (None, 1),
        "echo": (None, False),
        "stop_token_ids": (None, []),
        "use_beam_search": (None, False),
    }

    @model_validator(mode="before")
    @classmethod
    def _without_tools(cls, body: Any) -> Any:
        """Leave out tools that must not be called."""
        if isinstance(body, dict) and body.get("tool_choice") == "none":
            return {field: value for field, value in body.items() if field != "tools"}
        return body

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None  # false with `continue_final_message`, else true
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None  # with tools `auto`
    parallel_tool_calls: bool | None = None  # false: one call an answer

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def told_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def has_images(self) -> bool:
        """True with pictures or videos."""
        return any(part.type != "text" for message in self.messages for part in message.parts())


# Fields that an engine may support, each with the values that ask for nothing; those that it does
# support stand in its card.
FURTHER_FIELDS: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "min_p": (None, 0),
    "response_format": (None, PlainText(type="text")),
    "regex": (None,),
}


def parse_chat_request(body: Any) -> ChatRequest:
    """Check a decoded JSON body.

    Raises:
        UnsupportedField: a known OpenAI field asks for something this stack does not do.
        InvalidField: a field is missing, unknown or out of range.
    """
    return parse_body(ChatRequest, body)
