"""Text completions of OpenAI's wire: a prompt as it stands, without a chat template or pictures."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llava_serve.protocol.openai import ChatRequest, SampledRequest
from llava_serve.protocol.strict import Neutral, parse_body, unsupported

MAX_TOKENS = 16  # where the request does not say, as OpenAI has it
_IMAGE_PLACE = "<image>"
_TOKENS = "holds tokens; send its text, which POST /detokenize makes of them"


def _without_images(prompt: str) -> str:
    if _IMAGE_PLACE in prompt:
        raise PydanticCustomError(
            "image_place",
            "holds <image>, the place of a picture, and none comes with a text; pictures belong "
            "into messages, such as those of POST /v1/chat/completions",
        )
    return prompt


BarePrompt = Annotated[str, AfterValidator(_without_images)]


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

    prompt: Annotated[BarePrompt, Field(min_length=1)]
    echo: bool | None = None  # the prompt's text before the answer's
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def most_tokens(self) -> int:
        return self.max_tokens or MAX_TOKENS

    @property
    def told_logprobs(self) -> int | None:
        return self.logprobs

    @model_validator(mode="before")
    @classmethod
    def _with_one_text(cls, body: Any) -> Any:
        """Take a list of one text as that text."""
        if not isinstance(body, dict):
            return body
        if body.get("echo") and body.get("logprobs") is not None:
            raise unsupported("echo", "is not supported together with logprobs")
        if not isinstance(prompt := body.get("prompt"), list):
            return body
        if any(isinstance(one, int | list) for one in prompt):
            raise unsupported("prompt", _TOKENS)
        if len(prompt) != 1:
            raise unsupported("prompt", f"holds {len(prompt)} texts; send one in each request")
        return {**body, "prompt": prompt[0]}


def parse_completion_request(body: Any) -> CompletionRequest:
    """Check a decoded JSON body.

    Raises:
        UnsupportedField: a known field asks for something this stack does not do.
        InvalidField: a field is missing, unknown or out of range.
    """
    return parse_body(CompletionRequest, body)
