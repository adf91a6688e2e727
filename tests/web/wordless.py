"""A language whose texts have no letters: what is left of a view are words of no catalogue."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

from llava_serve.web.translations.catalogue import ENGLISH, Catalogue
from llava_serve.web.translations.language import current

_HEARD = ("alt", "aria-label", "data-name", "placeholder", "title")


class _Words(HTMLParser):
    """Collects the words of a view that are seen or heard."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value or "" for name, value in attrs if name in _HEARD]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@contextmanager
def wordless() -> Iterator[None]:
    """Let the language of the block have nothing but the values of its texts."""
    texts = {
        key: "*"
        + "*".join(re.findall(r"\{\w+\}", text if isinstance(text, str) else text["other"]))
        for key, text in ENGLISH.messages.items()
    }
    token = current.set(Catalogue("zh", "*", texts))
    try:
        yield
    finally:
        current.reset(token)


def words_left(html: str) -> set[str]:
    """Return the words that a view has, of two letters at least."""
    return set(re.findall("[A-Za-z]{2,}", " ".join(_Words(html).texts)))
