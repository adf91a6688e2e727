"""LLaVA's own wire, kept so that its clients and workers interoperate unmodified.

Chunks are JSON objects, each followed by a zero byte; `text` is the prompt and all text so far.
Source: haotian-liu/LLaVA@c121f04, llava/serve/model_worker.py and gradio_web_server.py.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from llava_serve.errors import ServeError
from llava_serve.protocol.integer import Positive
from llava_serve.protocol.strict import Neutral, Strict

SEPARATOR = b"\0"


class LlavaRequest(Strict):
    """The body of `POST /worker_generate_stream`; `images` are base64 strings or data: URIs.

    These are the fields that LLaVA's own clients send, and `echo` of FastChat's: without it the
    prompt is not repeated before the answer. Any other is refused by name, unless it asks for
    nothing. Source of those: lm-sys/FastChat@014e122, fastchat/serve/openai_api_server.py.
    """

    neutral: ClassVar[Neutral] = {
        "best_of": (None, 1),
        "frequency_penalty": (None, 0),
        "logprobs": (None, False),
        "min_p": (None, 0),
        "presence_penalty": (None, 0),
        "repetition_penalty": (None, 1),
        "seed": (None,),
        "skip_special_tokens": (None, True),
        "stop_token_ids": (None, []),
        "top_k": (None, -1, 0),
        "use_beam_search": (None, False),
    }

    model: str
    prompt: str
    images: list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0  # 0: the most probable token
    max_new_tokens: Positive = 256
    stop: str | list[str] | None = None
    echo: bool | None = None  # None, as true: LLaVA's clients cut the prompt off themselves


class LlavaChunk(BaseModel):
    text: str
    error_code: int = 0

    def encode(self) -> bytes:
        return self.model_dump_json().encode() + SEPARATOR

    @classmethod
    def from_error(cls, error: ServeError) -> "LlavaChunk":
        return cls(text=error.with_remedy, error_code=error.number)


class ModelQuery(BaseModel):
    model: str


class AddressAnswer(BaseModel):
    """`address` is empty when nobody serves the model."""

    address: str


class ModelNames(BaseModel):
    models: list[str]
