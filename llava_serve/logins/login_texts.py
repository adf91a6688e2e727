"""Login texts: what the sign-in page says, in the language of the request that is served."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llava_serve.errors import ServeError


class ToldError(Protocol):
    """What a user is told of an error: what happened, as a sentence, and what they can do.

    `original` has its own words, in English, where `told` is not made of them.
    """

    @property
    def told(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def original(self) -> str: ...


@dataclass(frozen=True)
class LoginTexts:
    """`language` is a BCP 47 tag; `translate` takes a key, and the values of the text by name."""

    language: Callable[[], str]
    translate: Callable[..., str]
    error: Callable[[ServeError], ToldError]
