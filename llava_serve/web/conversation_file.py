"""Conversation file: what a conversation is in JSON, on its way out of the page and back."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    model_validator,
)

from llava_serve.errors import ImportRefused
from llava_serve.storage.listing import LONGEST_TITLE
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.render import LETTERS

FORMAT = "llava_serve conversation"
_MOST_EXCHANGES = 1000
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
Text = Annotated[str, Field(max_length=5_000_000)]
Name = Annotated[str, Field(max_length=255)]


def _checked(name: str) -> str:
    if name in (".", "..") or {*name} & {"/", "\\", "\0"}:
        raise ValueError(f"{name!r} is no name of a file, but a path")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FileData(_Part):
    """A picture or video with all its bytes, in a `data:` URI; `name` is its user's.

    Where the file has brought the same bytes already, `url` is `#` and their SHA-256.
    """

    name: Annotated[Name, AfterValidator(_checked)]
    url: str

    def data(self) -> bytes:
        """Return the bytes.

        Raises:
            ImportRefused: there are none; no other address is read.
        """
        found = _DATA_URI.match(self.url)
        if found is None:
            raise ImportRefused(f"{self.name!r} brings no picture or video")
        try:
            return base64.b64decode(self.url[found.end() :], validate=True)
        except binascii.Error as exc:
            raise ImportRefused(f"the bytes of {self.name!r} are damaged") from exc


class ErrorData(_Part):
    """Why an answer failed."""

    code: Text
    message: Text
    remedy: Text


class AnswerData(_Part):
    """An answer, how it ended and what it took."""

    model: Name
    text: Text
    state: Literal["done", "stopped", "failed"] = "done"
    finish_reason: Name | None = None
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None
    time_to_first_token_s: FiniteFloat | None = None
    tokens_per_s: FiniteFloat | None = None
    error: ErrorData | None = None


class ExchangeData(_Part):
    """A question with its answers, in a comparison one for each model.

    `follows` is the place in the list of the exchange before it, -1 at the beginning; without it,
    that is the one listed before. `shown` is false for what is on another branch.
    """

    question: Text
    follows: Annotated[int, Field(ge=-1)] | None = None
    shown: bool = True
    files: list[FileData] = Field(default_factory=list, max_length=MOST_FILES)
    answers: list[AnswerData] = Field(min_length=1, max_length=len(LETTERS))


class ParametersData(_Part):
    """What the last question was asked with; what is missing was the worker's choice."""

    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    max_tokens: int | None = None
    seed: int | str | None = None
    system: Text = ""
    logprobs: bool | None = None


class ConversationData(_Part):
    """A conversation with all its branches, without votes; version 1 had the one that is shown."""

    format: Literal["llava_serve conversation"]
    version: Literal[1, 2]
    kind: Literal["chat", "compare"]
    title: str = Field("", max_length=LONGEST_TITLE)
    created_at: datetime = Field(strict=False)
    parameters: ParametersData = Field(default_factory=ParametersData)
    exchanges: list[ExchangeData] = Field(min_length=1, max_length=_MOST_EXCHANGES)

    @model_validator(mode="after")
    def check_answers(self) -> "ConversationData":
        """Refuse a chat with several models, which no tab could show."""
        if self.kind == "chat" and any(len(one.answers) > 1 for one in self.exchanges):
            raise ValueError("a question of a chat has one answer")
        return self

    @model_validator(mode="after")
    def check_branches(self) -> "ConversationData":
        """Refuse exchanges before the one they follow, and a branch shown that is none."""
        last = -1
        for place, exchange in enumerate(self.exchanges):
            exchange.follows = place - 1 if exchange.follows is None else exchange.follows
            if exchange.follows >= place:
                raise ValueError("an exchange stands before the one it follows")
            if exchange.shown and exchange.follows != last:
                raise ValueError("the exchanges that are shown do not follow one another")
            last = place if exchange.shown else last
        if last == -1:
            raise ValueError("no exchange is shown")
        return self
