"""Tokenisation for clients, with vLLM's names: `POST /tokenize` and `POST /detokenize`."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field

from llava_serve.errors import InvalidField
from llava_serve.protocol.completions import BarePrompt
from llava_serve.protocol.strict import Neutral, Strict, parse_body

MOST_TOKENS = 262_144  # of one request to make text of


class TextToTokenize(Strict):
    """A text as it stands, behind the tokens that every prompt begins with."""

    neutral: ClassVar[Neutral] = {"messages": (None,)}

    model: str
    prompt: BarePrompt
    add_special_tokens: bool | None = None  # null: true
    return_token_strs: bool | None = None


class ChatToTokenize(Strict):
    """Messages, as a completion would have them rendered, with all that their pictures become."""

    neutral: ClassVar[Neutral] = {
        "prompt": (None,),
        "add_special_tokens": (None, False),  # beyond those of the template
        "chat_template": (None,),
        "chat_template_kwargs": (None, {}),
        "media_io_kwargs": (None, {}),
        "mm_processor_kwargs": (None, {}),
        "tools": (None, []),
    }

    model: str
    messages: list[Any]  # checked with the rest of `chat_body`
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None

    @property
    def chat_body(self) -> dict[str, Any]:
        """The body of the chat completion whose prompt is meant."""
        return self.model_dump(exclude={"return_token_strs"})


class TokensToText(Strict):
    """The body of `POST /detokenize`."""

    model: str
    tokens: Annotated[
        list[Annotated[int, Field(gt=-(2**31), lt=2**31)]], Field(max_length=MOST_TOKENS)
    ]


class Tokenization(BaseModel):
    """The answer of `POST /tokenize`.

    What a picture or a frame becomes is the model's image token, once for each feature row. Where
    its tokenizer has none, that is LLaVA's -200.
    """

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenization(BaseModel):
    """The answer of `POST /detokenize`: the text of all tokens, special ones included."""

    prompt: str


def parse_tokenization(body: Any) -> TextToTokenize | ChatToTokenize:
    """Check a decoded JSON body.

    Raises:
        UnsupportedField: it asks for something this stack does not do.
        InvalidField: a field is missing, unknown or out of range.
    """
    given = body if isinstance(body, dict) else {}
    if given.get("messages") is None:
        return parse_body(TextToTokenize, body)
    if given.get("prompt") is not None:
        raise InvalidField("prompt", "and messages exclude each other")
    return parse_body(ChatToTokenize, body)


def parse_detokenization(body: Any) -> TokensToText:
    """Check a decoded JSON body; raises the same."""
    return parse_body(TokensToText, body)
