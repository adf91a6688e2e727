"""Language of a request: what its browser has chosen or prefers, and the texts in it."""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from starlette.requests import Request
from starlette.types import Scope

from llava_serve.web.translations.catalogue import CHINESE, ENGLISH, Catalogue, read

COOKIE = "language"
current: ContextVar[Catalogue] = ContextVar("language", default=ENGLISH)
"""The language of the request that is served, and of the tasks that it starts."""


def translate(key: str, **values: object) -> str:
    """Return a text of the page in the language of the request; values are put in as they are.

    Raises:
        KeyError: there is no such text, or a value is missing.
    """
    return current.get().translate(key, **values)


@dataclass(frozen=True)
class Languages:
    """The languages of a page, by tag or else by primary subtag: a browser's `zh-TW` finds `zh`.

    The first is that of whoever wants none of them.
    """

    catalogues: Sequence[Catalogue]

    @classmethod
    def of(cls, files: Iterable[Path] = ()) -> Self:
        """Return English, Chinese and those of the files; a file of either takes its place.

        Raises:
            CommandError: a file is no catalogue.
        """
        further = (read(file, ENGLISH) for file in files)
        every = {one.tag: one for one in (ENGLISH, CHINESE, *further)}
        return cls(tuple(every.values()))

    def chosen(self, scope: Scope) -> Catalogue:
        """Return the language of a request: that of its cookie, or the first it accepts."""
        request = Request(scope)
        accepted = request.headers.get("accept-language", "")
        for tag in (request.cookies.get(COOKIE, ""), *_by_preference(accepted)):
            for known_by in (str.lower, _primary):
                for catalogue in self.catalogues:
                    if known_by(catalogue.tag) == known_by(tag):
                        return catalogue
        return self.catalogues[0]


BUNDLED = Languages.of()


def _primary(tag: str) -> str:
    return tag.partition("-")[0].strip().lower()


def _by_preference(accepted: str) -> list[str]:
    """Return the tags of an Accept-Language header, the most wanted first.

    Source: RFC 9110, section 12.5.4.
    """
    wanted = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.partition("=")[2] or 1)
        except ValueError:
            continue
        if quality > 0:
            wanted.append((quality, tag.strip()))
    return [tag for _, tag in sorted(wanted, key=lambda one: -one[0])]
