"""Resumption of an answer at this worker: what a controller of the cluster asks of a stream."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError

from llava_serve.errors import InvalidField
from llava_serve.http.caller import caller_of
from llava_serve.protocol.resume import RESUME, RESUME_TOKENS

_TOKENS = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**31)], ...])
_TIME = TypeAdapter(int)


@dataclass(frozen=True, slots=True)
class Resumption:
    """A stream tells its tokens, and goes on behind `tokens`, which another worker generated.

    `created` is the Unix time at which the answer began.
    """

    created: int
    tokens: tuple[int, ...] = ()


def take_resumption(request: Request, content: Any) -> Resumption | None:
    """Take what a controller has added out of a decoded body; None where it asks for nothing.

    Only who shows the cluster's token may ask.

    Raises:
        InvalidField: it asks for what is none.
    """
    asked = request.headers.get(RESUME)
    if asked is None or not isinstance(content, dict) or not caller_of(request).is_insider:
        return None
    try:
        created = _TIME.validate_python(asked)
        return Resumption(created, _TOKENS.validate_python(content.pop(RESUME_TOKENS, ())))
    except ValidationError as exc:
        raise InvalidField(RESUME_TOKENS, exc.errors()[0]["msg"]) from exc
