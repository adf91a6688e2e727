"""Text completions of OpenAI's wire: a prompt as it stands, without a chat template or pictures."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.protocol.openai import ChatRequest, SampledRequest
from llava_serve.protocol.strict import Neutral, parse_body, unsupported
from llava_serve.request import IMAGE_PLACEHOLDER

MAX_TOKENS = 16  # where the request does not say, as OpenAI has it
MOST_PROMPTS = 512  # of one request


def _without_images(prompt: str) -> str:
    if IMAGE_PLACEHOLDER in prompt:
        raise PydanticCustomError(
            "image_place",
            "holds <image>, the place of a picture, and none comes with a text; pictures belong "
            "into messages, such as those of POST /v1/chat/completions",
        )
    return prompt


BarePrompt = Annotated[str, AfterValidator(_without_images)]


def _as_prompts(prompt: Any) -> list[str | list[int]]:
    """Return the prompts of any of OpenAI's shapes: texts and lists of tokens, or one of them."""
    is_list = isinstance(prompt, list)
    are_tokens = is_list and any(isinstance(one, int) for one in prompt)
    prompts = prompt if is_list and not are_tokens else [prompt]
    if not prompts or not all(map(_is_prompt, prompts)):
        said = "must be a text, a list of tokens, or a list of several of these; none is empty"
        raise PydanticCustomError("prompt", said)
    if len(prompts) > MOST_PROMPTS:
        said = "holds {prompts} prompts; at most {most} are answered in one request"
        numbers = {"prompts": len(prompts), "most": MOST_PROMPTS}
        raise PydanticCustomError("too_many_prompts", said, numbers)
    for one in prompts:
        if isinstance(one, str):
            _without_images(one)
    return prompts


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, list):
        return bool(prompt) and all(map(_is_token, prompt))
    return isinstance(prompt, str) and bool(prompt)


def _is_token(token: Any) -> bool:
    return type(token) is int and 0 <= token < 2**31  # a bool is none


class CompletionRequest(SampledRequest):
    """The body of `POST /v1/completions`.

    `logprobs` is how many of the likeliest tokens to tell at each place. Fields beyond OpenAI's are
    those of a chat's request.
    """

    neutral: ClassVar[Neutral] = {
        **{name: values for name, values in ChatRequest.neutral.items() if name != "echo"},
        "suffix": (None, ""),
        # Of vLLM.
        "add_special_tokens": (None, True),
        "include_stop_str_in_output": (None, False),
        "length_penalty": (None, 1),
        "priority": (None, 0),
        "prompt_logprobs": (None,),
        "spaces_between_special_tokens": (None, True),
        "truncate_prompt_tokens": (None,),
    }

    prompt: Annotated[list[str | list[int]], BeforeValidator(_as_prompts)]
    echo: bool | None = None  # the prompt's text before the answer's
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def most_tokens(self) -> int:
        return self.max_tokens or MAX_TOKENS

    @property
    def told_logprobs(self) -> int | None:
        return self.logprobs

    @property
    def answers(self) -> int:
        """How many answers are asked for in all; those to one prompt have numbers in a row."""
        return len(self.prompt) * (self.n or 1)

    @model_validator(mode="before")
    @classmethod
    def _without_logprobs_of_prompts(cls, body: Any) -> Any:
        if isinstance(body, dict) and body.get("echo") and body.get("logprobs") is not None:
            raise unsupported("echo", "is not supported together with logprobs")
        return body


def parse_completion_request(body: Any) -> CompletionRequest:
    """Check a decoded JSON body.

    Raises:
        UnsupportedField: a known field asks for something this stack does not do.
        InvalidField: a field is missing, unknown or out of range.
    """
    return parse_body(CompletionRequest, body)
