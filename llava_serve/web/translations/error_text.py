"""Text of an error in the language of the request."""

from dataclasses import dataclass

from llava_serve.errors import ServeError
from llava_serve.web.translations.catalogue import ENGLISH
from llava_serve.web.translations.language import current


@dataclass(frozen=True)
class ErrorText:
    """What happened, as a sentence; what a user can do; and where both are translated by the code
    of the error alone, its own words, which have names and numbers."""

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
    English.
    """
    english = ErrorText(as_sentence(error.user_message), error.user_remedy)
    texts = current.get().messages
    told, remedy = texts.get(f"error.{error.code}"), texts.get(f"error.{error.code}.remedy")
    if current.get() is ENGLISH or not isinstance(told, str):
        return english
    return ErrorText(told, remedy if isinstance(remedy, str) else english.remedy, english.told)


def as_sentence(text: str) -> str:
    """Return a text with a capital and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
