"""Text of an error in the language of the request."""

import inspect
from dataclasses import dataclass

from llava_serve.errors import RemoteError, ServeError
from llava_serve.web.translations.catalogue import ENGLISH
from llava_serve.web.translations.language import current


@dataclass(frozen=True)
class ErrorText:
    """What happened, as a sentence; what a user can do; and `original`, the error's own words.

    Those are there where both are translated by the error's code alone and the own words say more:
    they have names and numbers.
    """

    told: str
    remedy: str
    original: str = ""

    @property
    def whole(self) -> str:
        """All of it in one line."""
        own = f" ({self.original})" if self.original else ""
        return f"{self.told}{own} {self.remedy}"


def error_text(error: ServeError) -> ErrorText:
    """Return what a user of the page is told of an error.

    The English texts are those of the class: they stand with its cause, and programs get them too.
    A catalogue has `error.CODE` and `error.CODE.remedy`. For a code that it lacks, the words are
    English; for one of another program, they are those of the nearest class.
    """
    english = ErrorText(as_sentence(error.user_message), error.user_remedy)
    texts, kind = current.get().messages, _kind(error)
    told, remedy = texts.get(f"error.{kind.code}"), texts.get(f"error.{kind.code}.remedy")
    if current.get() is ENGLISH or not isinstance(told, str):
        return english
    own = english.told if error.user_message == error.message and _takes_values(kind) else ""
    return ErrorText(told, remedy if isinstance(remedy, str) else english.remedy, own)


def _kind(error: ServeError) -> type[ServeError]:
    return error.kind if isinstance(error, RemoteError) else type(error)


def _takes_values(kind: type[ServeError]) -> bool:
    """Return whether the message differs from one error of this class to the next."""
    made = kind.__init__
    return not inspect.isfunction(made) or len(inspect.signature(made).parameters) > 1


def as_sentence(text: str) -> str:
    """Return a text with a capital and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
